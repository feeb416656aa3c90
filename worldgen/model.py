"""`WorldModel`: a codec and a network with their configuration, loaded and saved as safetensors and JSON."""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geometry.errors import InputError
from worldgen.config import build, plain
from worldgen.models.codec import PixelCodec
from worldgen.models.dit import DiTConfig, MultiViewDiT
from worldgen.sampling.process import Denoiser, Flow

EMBEDDED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelConfig:
    """What a model is. The last two fields record conventions, so that weights refuse another reading of them.

    size_px  the trained side of its square pictures
    frames   the most frames it was trained to see at once
    """

    name: str
    size_px: int = 64
    frames: int = 8
    codec: PixelCodec = field(default_factory=PixelCodec)
    network: DiTConfig = field(default_factory=DiTConfig)
    process: Flow = field(default_factory=Flow)
    plucker_order: str = "direction,moment"
    depth_signal: str = "scale/depth-1"

    def __post_init__(self) -> None:
        if list(self.network.modalities.items()) != list(self.codec.modalities().items()):
            raise InputError(
                f"network modalities {self.network.modalities} with a codec of {self.codec.modalities()}; "
                "expected the same in the same order"
            )
        if self.size_px % self.codec.block:
            raise InputError(f"size_px {self.size_px}; expected a multiple of the codec's block {self.codec.block}")
        if (self.plucker_order, self.depth_signal) != ("direction,moment", "scale/depth-1"):
            raise InputError(
                f"weights that read Plücker rays as {self.plucker_order} and depth as {self.depth_signal}; "
                "this version knows direction,moment and scale/depth-1"
            )


class WorldModel:
    """A trained model: `load` it by name or folder, then give it to `worldgen.orbit`."""

    def __init__(self, config: ModelConfig, network: MultiViewDiT, weights_sha256: str = ""):
        self.config, self.network, self.weights_sha256 = config, network, weights_sha256

    @staticmethod
    def create(config: ModelConfig) -> "WorldModel":
        """A model with fresh weights (torch's global generator)."""
        return WorldModel(config, MultiViewDiT(config.network))

    @property
    def channels(self) -> tuple[int, ...]:
        """Latent channels of each modality, in order."""
        return tuple(self.config.network.modalities.values())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "WorldModel":
        """The model on another device (in place, as torch modules go)."""
        self.network.to(device)
        return self

    def denoiser(self) -> Denoiser:
        """(x, level, conditioning) -> the clean estimate x0."""
        return self.config.process.precondition(self.network, self.channels)

    def save(self, folder: Path, int8: bool = False) -> None:
        """Write `config.json` and `weights.safetensors`; int8 keeps matrices as bytes with one scale a row."""
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            weights, config = Path(beside) / "weights.safetensors", Path(beside) / "config.json"
            save_file(_quantise(state) if int8 else state, weights, metadata={"format": "worldgen 1"})
            config.write_text(json.dumps(plain(self.config), indent=2) + "\n", encoding="utf-8")
            weights.replace(folder / weights.name)
            config.replace(folder / config.name)

    @staticmethod
    def load(name: str | Path, device: torch.device | str = "cpu") -> "WorldModel":
        """The embedded model of a name (`WorldModel.names()`), or the one in a folder.

        Raises InputError when there is none, or its files do not fit together.
        """
        folder = EMBEDDED / name if (EMBEDDED / name).is_dir() else Path(name)
        try:
            config = build(
                ModelConfig, json.loads((folder / "config.json").read_text("utf-8")), f"{folder}/config.json"
            )
            path = folder / "weights.safetensors"
            state = _restore(load_file(path))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"model {str(name)!r}: {type(error).__name__}; expected one of {', '.join(WorldModel.names())} or a "
                "folder with config.json and weights.safetensors"
            ) from error
        model = WorldModel(config, MultiViewDiT(config.network), digest)
        try:
            model.network.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"model {str(name)!r}: weights do not fit its config ({str(error).splitlines()[-1].strip()})"
            ) from error
        model.network.requires_grad_(False).eval()
        return model.to(device)

    @staticmethod
    def names() -> list[str]:
        """The embedded models."""
        return sorted(path.parent.name for path in EMBEDDED.glob("*/config.json"))


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises InputError for a device torch does not know or have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[-1].strip()}") from error


def _quantise(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8 with one float scale a row; everything else as it is."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim == 2 and min(value.shape) > 8:
            scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            out[name + ":int8"] = (value / scale).round().to(torch.int8)
            out[name + ":scale"] = scale
        else:
            out[name] = value
    return out


def _restore(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain_names = (name for name in state if not name.endswith(":scale"))
    return {
        name.removesuffix(":int8"): state[name].float() * state[name.removesuffix(":int8") + ":scale"]
        if name.endswith(":int8")
        else state[name]
        for name in plain_names
    }
