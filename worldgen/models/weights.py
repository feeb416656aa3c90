"""A model's weights as files: safetensors, matrices as int8 if asked, in shards that any host takes."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from geometry.errors import InputError
from geometry.io.files import replacing

EMBEDDED = Path(__file__).parents[1] / "weights"
SHARD_BYTES = 15 << 20


def write_weights(state: dict[str, Tensor], folder: Path, int8: bool = False, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as `weights.safetensors` or, where that is too large, as `weights-1-of-3.safetensors` and so on.

    All shards are on disk before the first is moved into place, and carry the digest of the whole, so that a mixture of
    old and new ones, which only a crash between the moves can leave, is not taken for a model.
    int8  keep matrices and convolutions as bytes with one scale a row
    """
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    shards = _split(_quantized(state) if int8 else state, shard_bytes)
    metadata = {"format": "worldgen 1"}
    if len(shards) > 1:
        metadata["whole"] = _digest(state)
    names = [_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    with ExitStack() as all_of_them:
        for name, shard in zip(names, shards):
            save_file(shard, all_of_them.enter_context(replacing(folder / name)), metadata=metadata)
    for path in folder.glob("weights*.safetensors"):
        if path.name not in names:
            path.unlink()


def read_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """All tensors of a folder, and the sha256 of its files one after the other.

    Raises FileNotFoundError where there are none, and InputError for shards that are not all there or not of one model.
    """
    paths = sorted(folder.glob("weights*.safetensors"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise FileNotFoundError(folder / _name(1, 1))
    expected = [_name(number, len(paths)) for number in range(1, len(paths) + 1)]
    if [path.name for path in paths] != expected:
        raise InputError(f"{folder} has {', '.join(p.name for p in paths)}; expected all shards of one model")
    state: dict[str, Tensor] = {}
    digest, wholes = hashlib.sha256(), set()
    for path in paths:
        with safe_open(path, framework="pt") as file:
            wholes.add((file.metadata() or {}).get("whole"))
        state |= load_file(path)
        digest.update(path.read_bytes())
    if len(wholes) > 1:
        raise InputError(f"{folder} has shards of {len(wholes)} different models; expected those of one: save it again")
    return _restored(state), digest.hexdigest()


def _name(number: int, count: int) -> str:
    return "weights.safetensors" if count == 1 else f"weights-{number}-of-{count}.safetensors"


def _split(state: dict[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """In order, each shard of at most `most` bytes, but for a tensor that is larger by itself."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in state.items():
        size += value.numel() * value.element_size()
        if shards[-1] and size > most:
            shards.append({})
            size = value.numel() * value.element_size()
        shards[-1][name] = value
    return shards


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _quantized(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and convolutions as int8 with one float scale for each row or output; everything else as it is."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        rows, columns = len(value) if value.ndim else 0, value[0].numel() if value.ndim and len(value) else 0
        if value.ndim in (2, 4) and min(rows, columns) > 8:
            scale = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True).clamp_min(1e-12) / 127
            out[name + ":int8"] = (value / scale).round().to(torch.int8)
            out[name + ":scale"] = scale
        else:
            out[name] = value
    return out


def _restored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain_names = (name for name in state if not name.endswith(":scale"))
    return {
        name.removesuffix(":int8"): state[name].float() * state[name.removesuffix(":int8") + ":scale"]
        if name.endswith(":int8")
        else state[name]
        for name in plain_names
    }
