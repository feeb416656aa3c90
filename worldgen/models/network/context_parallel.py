"""Context parallelism: the frames of a clip split over processes, which attend to each other's."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from geometry.errors import InputError


@dataclass(frozen=True)
class Context:
    """This process's place in a group that shares clips: process r of s has the r-th of s equal runs of frames.

    Keys and values are gathered whole (as in Llama 3, Dubey et al. 2024, section 3.3.2), so that every mask works as it
    is; queries, and all that is kept for the backward pass but them, are of the own frames only.
    """

    group: dist.ProcessGroup

    def __deepcopy__(self, memo: dict[int, Any]) -> "Context":
        """Itself: a copied network shares frames with the same processes."""
        return self

    @property
    def size(self) -> int:
        """Processes in the group."""
        return self.group.size()

    def own(self, x: Tensor, dim: int) -> Tensor:
        """This process's part of a whole. Raises InputError when it can't be split evenly."""
        if x.shape[dim] % self.size:
            raise InputError(f"{x.shape[dim]} frames for {self.size} processes; expected a multiple")
        return x.chunk(self.size, dim)[self.group.rank()]

    def gather(self, x: Tensor, dim: int) -> Tensor:
        """The whole of everyone's parts, of which each makes something else: gradients are summed over the group."""
        return _Gather.apply(x, self, dim)  # type: ignore[no-any-return]

    def join(self, x: Tensor, dim: int) -> Tensor:
        """The whole of everyone's parts, from which all compute the same loss.

        The gradient of the own part is multiplied by the size of the group: every process has only its own frames'
        share of the weights' gradients, and their mean over the processes is then the gradient of the loss.
        """
        return _Join.apply(x, self, dim)  # type: ignore[no-any-return]


def _gathered(x: Tensor, context: Context, dim: int) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(context.size)]
    dist.all_gather(parts, x.contiguous(), group=context.group)
    return torch.cat(parts, dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, context: Context, dim: int) -> Tensor:
        ctx.context, ctx.dim = context, dim
        return _gathered(x, context, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        parts = [part.contiguous() for part in gradients[0].chunk(ctx.context.size, ctx.dim)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts, group=ctx.context.group)
        return own, None, None


class _Join(_Gather):
    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.context.own(gradients[0], ctx.dim) * ctx.context.size, None, None
