"""Checkpoints: safetensors files that are either the old one or the new one, never half.

A checkpoint is one file. Where processes have shards of the tensors, it holds the first one's and names the other
files, which lie beside it, one a process, and say which rows they hold: any number of processes can read it. Moving the
one file into place is what completes the checkpoint.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from geometry.errors import InputError
from geometry.io.temporaries import create, put, temporary_name
from worldgen.training.engine.distributed import Ranks, local, own_rows, sharded_like


def save(path: Path, tensors: Mapping[str, Tensor], header: dict[str, Any], ranks: Ranks | None = None) -> None:
    """Write beside, flush to disk, move into place; with several processes, all of them together.

    Tensors that are not sharded are written by the main process. Raises InputError, in all processes, when one cannot
    write; the previous checkpoint is kept then.
    """
    ranks = Ranks(torch.device("cpu")) if ranks is None else ranks
    shards = {name: value for name, value in tensors.items() if isinstance(value, DTensor)}
    rows = {name: own_rows(value) for name, value in shards.items()}
    mine = {name: local(shards[name]) for name, own in rows.items() if own.stop > own.start}
    others = []
    if shards:
        others = [_shard_name(path, header["step"], rank, ranks.world_size) for rank in range(1, ranks.world_size)]
    target = path if ranks.main else path.with_name(others[ranks.rank - 1]) if others else None
    metadata = {"rows": json.dumps({name: [rows[name].start, len(shards[name])] for name in mine})} if mine else {}
    if ranks.main:
        mine |= {name: value for name, value in tensors.items() if name not in shards}
        metadata |= {"worldgen": json.dumps(header)} | ({"shards": json.dumps(others)} if others else {})
    temporary = None if target is None else temporary_name(target)
    try:
        mode, failure = (0, "") if temporary is None else _write(temporary, mine, metadata)
        if not failure and temporary is not None and target is not None and not ranks.main:
            put(temporary, mode, target)
        if ranks.any(bool(failure)):
            if target is not None and not ranks.main:
                target.unlink(missing_ok=True)
            reason = failure or "another process could not write its part"
            raise InputError(f"{path} can't be written ({reason}); the checkpoint before it is kept")
        if ranks.main and temporary is not None:
            put(temporary, mode, path)
            _flush_folder(path.parent)
            _remove_other_shards(path, others)
    finally:
        if temporary is not None and os.path.lexists(temporary):
            temporary.unlink()
    ranks.any(False)  # no process begins another checkpoint, or ends, before this one is in place


def remove_strays(path: Path) -> None:
    """Remove the shards beside a checkpoint that a killed run left: it moves them into place before the checkpoint."""
    named = list(Checkpoint(path).shards) if path.exists() else []
    _remove_other_shards(path, named)


def _remove_other_shards(path: Path, named: list[str]) -> None:
    """Remove the shards beside a checkpoint that it does not name: of earlier ones, or of one that was not finished."""
    for shard in path.parent.glob(f"{path.stem}.[0-9]*-of-[0-9]*{path.suffix}*"):
        if shard.name not in named:
            shard.unlink(missing_ok=True)


def _shard_name(path: Path, step: int, rank: int, world_size: int) -> str:
    """The file of a rank's shards; each step has names of its own, so that the old shards stay until the new checkpoint
    is in place."""
    return f"{path.stem}.{step:07d}.{rank}-of-{world_size}{path.suffix}"


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> tuple[int, str]:
    """Write a new file and flush it to disk. Returns the mode it is to have, and what went wrong, or ""."""
    mode = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = create(path)
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path, metadata=metadata)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        return mode, getattr(error, "strerror", None) or str(error)
    return mode, ""


def _flush_folder(folder: Path) -> None:
    """Make sure that the new name is on the disk before the old shards are removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Checkpoint(Mapping[str, Tensor]):
    """An open checkpoint: its header, and its tensors, each read when it is accessed and put together from its shards.

    Raises InputError for a file that is not a checkpoint, and for one with missing shards.
    """

    def __init__(self, path: Path):
        self.path = path
        self._parts: dict[str, list[tuple[int, int, Any]]] = {}
        try:
            main = safe_open(path, framework="pt")
            metadata = main.metadata() or {}
            self.header: dict[str, Any] = json.loads(metadata["worldgen"])
            files = [main]
            self.shards: list[str] = [Path(name).name for name in json.loads(metadata.get("shards", "[]"))]
            for name in self.shards:
                path = self.path.with_name(name)
                files.append(safe_open(path, framework="pt"))
            for file in files:
                self._add(file)
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise InputError(f"{path}: {type(error).__name__}; expected a checkpoint of worldgen train") from error

    def _add(self, file: Any) -> None:
        """Note what a file holds."""
        rows = json.loads((file.metadata() or {}).get("rows", "{}"))
        for name in file.keys():  # noqa: SIM118
            first, count = rows.get(name, (0, -1))
            self._parts.setdefault(name, []).append((first, count, file))

    def __getitem__(self, name: str) -> Tensor:
        parts = self._parts[name]
        if parts[0][1] < 0:
            return parts[0][2].get_tensor(name)
        return self.rows(name, slice(0, parts[0][1]))

    def rows(self, name: str, wanted: slice) -> Tensor:
        """Some rows of a tensor; only they are read."""
        found = []
        for first, _, file in sorted(self._parts[name], key=lambda part: part[0]):
            part = file.get_slice(name)
            low, high = max(wanted.start - first, 0), min(wanted.stop - first, part.get_shape()[0])
            if low < high or wanted.start == wanted.stop:
                found.append(part[low : max(low, high)])
        out = torch.cat(found)
        if len(out) != wanted.stop - wanted.start:
            raise InputError(f"{self.path}: {len(out)} of the rows {wanted} of {name}; expected all its shards")
        return out

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The whole tensors and the header. Raises InputError as `Checkpoint` does."""
    opened = Checkpoint(path)
    return dict(opened), opened.header


def read_like(tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    """A tensor of its own, or this process's shard of it where `like` is sharded."""
    if not isinstance(like, DTensor):
        # A copy: aligned as torch allocates, so that products round as in a run that never stopped.
        return tensors[name].clone()
    rows = own_rows(like)
    part = tensors.rows(name, rows) if isinstance(tensors, Checkpoint) else tensors[name][rows]
    return sharded_like(part.clone(), like)


def pack_optimizer(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def unpack_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a packed state back."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key in tensors:
        if key.startswith(prefix + "."):
            _, index, name = key.split(".")
            # The state is of the parameter's shape, or one number (the count of steps).
            like = torch.zeros(()) if name == "step" else parameters[int(index)]
            state.setdefault(int(index), {})[name] = read_like(tensors, key, like)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
