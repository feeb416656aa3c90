"""What a solver is: a readable `reference_step`, and for speed a table of coefficients equal to it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from worldgen.sampling.solvers.column_levels import ColumnLevels, Move

# One coefficient of a step: a number where all columns have the same, else [f, c, 1, 1].
Coefficient = float | Tensor
SolverHistory = tuple[Tensor, ...]


@dataclass(frozen=True)
class Solver(ABC):
    """How a column moves from one level to the next. `reference_step` is all that a solver needs:

        @dataclass(frozen=True)
        class Mine(Solver):
            def reference_step(self, move, history, x, x0, noise):
                return history, move.after.alpha * x0 + move.after.sigma * move.now.noise(x, x0)

        SOLVERS["mine"] = Mine()

    Every column moves at its own pace and has a history of its own. Columns that wait are put back by the sampler.

    history     tensors of the shape of x that the next move of a column needs
    corrects    whether a move calls the denoiser again where it arrives (`reference_correct`)
    stochastic  whether a move takes fresh noise
    """

    history: ClassVar[int] = 0
    corrects: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False

    @abstractmethod
    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """One move of one column, as its paper has it.

        Args:
            move: From which level to which, as numbers (`move.now.alpha`, `move.after.sigma`, ...).
            history: What the last move returned, `self.history` tensors; anything finite in the first move.
            x: The column [b, c, h, w] at the level `move.now`.
            x0: The denoiser's clean estimate of it.
            noise: Fresh standard normal noise for stochastic solvers; zeros for others.

        Returns:
            The history for the next move, and the column at the level `move.after`.
        """

    def reference_correct(self, move: Move, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
        """The column at `move.after` corrected by the clean estimate y0 at the first guess y; for solvers that do."""
        raise AssertionError(f"{self} has no correction")


@dataclass(frozen=True)
class TableSolver(Solver):
    """A solver whose every step is a sum of a few tensors with coefficients that follow from the levels alone.

    Those of all rows and columns are worked out at once, in float64, before sampling begins (`coefficients`); a step
    only adds up, for all columns together. Tests hold this equal to `reference_step`.
    """

    @abstractmethod
    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """Of every move of a column, [terms, moves], all finite."""

    @abstractmethod
    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """The next history, and x [b, f, c, h, w] in the next row, from one row's coefficients."""

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Sequence[Coefficient]) -> Tensor:
        """x in the next row from the estimate y0 at the first guess y; columns that end there are left."""
        raise AssertionError(f"{self} has no correction")


def mix(a: Coefficient, x: Tensor, b: Coefficient, y: Tensor) -> Tensor:
    """a x + b y, both coefficients numbers or both tensors: most steps are no more than this."""
    if isinstance(a, float):
        if -1e-12 < a + b - 1 < 1e-12:
            return torch.lerp(y, x, a)  # half the passes over RAM
        total = a * x
        return total.add_(y, alpha=b) if b != 0 else total  # type: ignore[arg-type] - a number as a is
    return (a * x).addcmul_(b, y)  # type: ignore[arg-type] - a tensor as a is


def blend(coefficients: Sequence[Coefficient], tensors: Sequence[Tensor]) -> Tensor:
    """The sum of more than two tensors, each times its coefficient: all of them numbers, or all tensors."""
    first = coefficients[0]
    total = first * tensors[0]
    if isinstance(first, float):
        for coefficient, tensor in zip(coefficients[1:], tensors[1:]):
            if coefficient != 0:
                total.add_(tensor, alpha=coefficient)  # type: ignore[arg-type]
        return total
    for coefficient, tensor in zip(coefficients[1:], tensors[1:]):
        total.addcmul_(coefficient, tensor)  # type: ignore[arg-type]
    return total
