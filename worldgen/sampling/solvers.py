"""Solvers: from one row of levels to the next, given a denoiser.

A solver sees levels as `now` and `after`, [b, f, c, 1, 1] spread over channels, and moves every column at its own
pace. Columns that do not change are put back by the sampler.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

# x at the row's levels (after = False) or at the next row's (after = True) -> the clean estimate
Estimate = Callable[[Tensor, bool], Tensor]


@runtime_checkable
class Solver(Protocol):
    """One step of an ODE solver."""

    def step(self, estimate: Estimate, x: Tensor, now: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """The next x, and the clean estimate at `now`."""
        ...


def _advance(x: Tensor, x0: Tensor, now: Tensor, after: Tensor) -> Tensor:
    """Along the straight line from x at `now` towards x0: exact in x0 where `after` is 0."""
    ratio = after / torch.where(now > 0, now, 1.0)
    return x0 + ratio * (x - x0)


class Euler:
    """First order: x0 is held over the step."""

    def step(self, estimate: Estimate, x: Tensor, now: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """One call of the denoiser."""
        x0 = estimate(x, False)
        return _advance(x, x0, now, after), x0


class Heun:
    """Second order: the mean velocity of both ends (Karras et al. 2022, algorithm 1); Euler in columns that end."""

    def step(self, estimate: Estimate, x: Tensor, now: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Two calls of the denoiser, one where no moving column has a level left to correct at."""
        x0 = estimate(x, False)
        predicted = torch.where(after < now, _advance(x, x0, now, after), x)
        if not bool(((after > 0) & (after < now)).any()):
            return predicted, x0
        x0_after = estimate(predicted, True)
        safe_now, safe_after = torch.where(now > 0, now, 1.0), torch.where(after > 0, after, 1.0)
        velocity = ((x - x0) / safe_now + (predicted - x0_after) / safe_after) / 2
        return torch.where(after > 0, x + (after - now) * velocity, predicted), x0


SOLVERS: dict[str, type[Solver]] = {"euler": Euler, "heun": Heun}
