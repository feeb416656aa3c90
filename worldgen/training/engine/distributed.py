"""Several processes that train together, started by `torchrun`: their ranks, what they share, what each keeps."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from geometry.errors import InputError
from worldgen.models.network.context_parallel import Context
from worldgen.runtime.devices import pick_device
from worldgen.training.config.train import TrainConfig

_ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    parallel  how they share the model (`TrainConfig.parallel`)
    context   the group of this process where clips are shared frame by frame; None = each has whole clips
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    parallel: str = "none"
    context: Context | None = None

    @property
    def main(self) -> bool:
        """Whether this process writes the files that are written once."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """The number of this process's share of a batch, and how many there are; a context group has one together."""
        size = 1 if self.context is None else self.context.size
        return self.rank // size, self.world_size // size

    def gathered(self, numbers: Tensor) -> Tensor:
        """All processes' numbers [k] as [world_size, k]."""
        if self.world_size == 1:
            return numbers[None]
        everyone = numbers.new_empty(self.world_size, *numbers.shape)
        dist.all_gather(list(everyone), numbers.contiguous())
        return everyone

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process. All wait here for all."""
        return bool(self.gathered(torch.tensor([float(flag)], device=self.device)).any())

    def wrap(self, objective: nn.Module, blocks: Sequence[nn.Module]) -> nn.Module:
        """The objective on the device, in the form that averages gradients over all processes.

        blocks  its parts that are gathered one at a time, with "fsdp"

        With "fsdp" its parameters become shards in place, so averages and optimizers are made after this.
        """
        if self.parallel == "fsdp":
            mesh = init_device_mesh(self.device.type, (self.world_size,))
            for block in blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(objective, mesh=mesh)
            return objective
        objective = objective.to(self.device)
        return DistributedDataParallel(objective) if self.parallel == "ddp" else objective


@contextmanager
def joined(config: TrainConfig) -> Iterator[Ranks]:
    """The processes of this run, as torchrun started them: NCCL on GPUs, gloo elsewhere. Without torchrun one process.

    Raises InputError for an environment that is not torchrun's, or does not fit the configuration.
    """
    given = [name for name in _ENVIRONMENT if name in os.environ]
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(given):
        yield Ranks(pick_device(config.device))
        return
    if len(given) < len(_ENVIRONMENT):
        missing = ", ".join(sorted(set(_ENVIRONMENT) - set(given)))
        raise InputError(f"{', '.join(given)} set, but not {missing}; expected all as torchrun sets them, or none")
    rank, world_size, local_rank = (int(os.environ[name]) for name in _ENVIRONMENT[:3])
    size = config.context_parallel
    if world_size == 1:
        yield Ranks(pick_device(config.device))
        return
    if config.parallel == "none":
        raise InputError(
            f"train.parallel none with {world_size} processes; expected ddp (each has the whole model), or fsdp (each "
            "has a part of it)"
        )
    if world_size % size:
        raise InputError(f"{world_size} processes in groups of {size} (train.context_parallel); expected a multiple")
    device = _local_device(config.device, local_rank)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=world_size)
    try:
        yield Ranks(device, rank, world_size, config.parallel, _context(size))
    finally:
        dist.destroy_process_group()


def _context(size: int) -> Context | None:
    """The group of this process, of neighboring ranks."""
    if size == 1:
        return None
    group = dist.new_subgroups(size)[0]
    assert isinstance(group, dist.ProcessGroup), group
    return Context(group)


def _local_device(name: str, local_rank: int) -> torch.device:
    """The device of a process: its node's GPUs in turn, or the CPU."""
    device = pick_device(name)
    if device.type != "cuda":
        return device
    if name not in ("auto", "cuda"):
        raise InputError(f"train.device {name!r} with several processes; expected auto, cuda or cpu")
    if local_rank >= torch.cuda.device_count():
        raise InputError(f"process {local_rank} of a node with {torch.cuda.device_count()} GPUs; expected one each")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def local(value: Tensor) -> Tensor:
    """The part of a tensor that this process holds, not copied."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """The whole tensor; all processes must call this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def own_rows(value: DTensor) -> slice:
    """The rows of a sharded tensor that this process holds (as `torch.chunk` splits them)."""
    mesh, count = value.device_mesh, value.shape[0]
    share = -(-count // mesh.size())
    first = min(mesh.get_local_rank() * share, count)
    rows = slice(first, min(first + share, count))
    held = value.to_local().shape[0]
    assert held == rows.stop - rows.start, f"{held} rows of {count}; expected {rows}"
    return rows


def sharded_like(rows: Tensor, like: DTensor) -> DTensor:
    """A sharded tensor of all processes' own rows."""
    return DTensor.from_local(
        rows.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )
