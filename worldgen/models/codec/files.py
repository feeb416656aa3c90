"""Codecs with weights as folders: `codec.json` and `weights.safetensors`."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geometry.errors import InputError
from geometry.io.files import replacing, write_file
from worldgen.models.codec.vae import ConvVAE, ConvVAEConfig
from worldgen.runtime.config import build, plain
from worldgen.weights import EMBEDDED


def save_codec(vae: ConvVAE, folder: Path, half: bool = False) -> None:
    """Write a codec's configuration and weights; half keeps them in 16 bits, which loading turns back to 32."""
    dtype = torch.float16 if half else torch.float32
    state = {name: value.detach().cpu().to(dtype).contiguous() for name, value in vae.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "weights.safetensors") as weights:
        save_file(state, weights, metadata={"format": "worldgen 1"})
    write_file(folder / "codec.json", (json.dumps(plain(vae.config), indent=2) + "\n").encode())


def load_codec(name: str | Path, device: torch.device | str = "cpu") -> ConvVAE:
    """The embedded codec of a name (`codec_names()`), or the one in a folder.

    Raises InputError when there is none, or its files do not fit together.
    """
    folder = EMBEDDED / name if (EMBEDDED / name / "codec.json").exists() else Path(name)
    try:
        config = build(ConvVAEConfig, json.loads((folder / "codec.json").read_text("utf-8")), f"{folder}/codec.json")
        state = {key: value.float() for key, value in load_file(folder / "weights.safetensors").items()}
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        expected = " or ".join([*(f"the name {known!r}" for known in codec_names()), "a folder"])
        raise InputError(
            f"codec {str(name)!r}: {type(error).__name__}; expected {expected} with codec.json and weights.safetensors"
        ) from error
    vae = ConvVAE(config)
    try:
        vae.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"codec {str(name)!r}: weights do not fit its config ({str(error).splitlines()[-1].strip()})"
        ) from error
    return vae.requires_grad_(False).eval().to(device)


def codec_names() -> list[str]:
    """The embedded codecs."""
    return sorted(path.parent.name for path in EMBEDDED.glob("*/codec.json"))
