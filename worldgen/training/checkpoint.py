"""Checkpoints: one safetensors file that is either the old one or the new one, never half."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geometry.errors import InputError


def save(path: Path, tensors: dict[str, Tensor], header: dict) -> None:
    """Write beside, flush to disk, move into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, beside,
              metadata={"worldgen": json.dumps(header)})  # fmt: skip
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the header. Raises InputError for a file that is no checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["worldgen"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: {type(error).__name__}; expected a checkpoint of worldgen train") from error


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put a packed state back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix + "."):
            _, index, name = key.split(".")
            # A copy of its own: aligned as torch allocates, so that products round as in a run that never stopped.
            state.setdefault(int(index), {})[name] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
