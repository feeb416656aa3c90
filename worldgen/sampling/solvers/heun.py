"""Heun's method: a second call of the denoiser where a step arrives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from worldgen.sampling.solvers.base import Coefficient, SolverHistory, TableSolver, blend, mix
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move


@dataclass(frozen=True)
class Heun(TableSolver):
    """Second order: the mean velocity of both ends, by the process's clock (Karras et al. 2022, algorithm 1); Euler
    in columns that end. Two calls of the denoiser, one where no column has a level left to correct at."""

    corrects = True

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """Euler's (line 5)."""
        return history, move.first_order(x, x0)

    def reference_correct(self, move: Move, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
        """x' = x + h (d + d') / 2 (line 8), with the velocities d and d' at both ends (lines 4 and 7)."""
        now, after = move.now, move.after
        if after.sigma == 0:  # line 6
            return y
        return x + (after.clock - now.clock) * (now.velocity(x, x0) + after.velocity(y, y0)) / 2

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """Those of Euler's step, then p, q, r, s of x' = p x + q x0 + r y + s y0.

        The velocity is d_alpha x0 + d_sigma (x - alpha x0) / sigma, at both ends.
        """
        half = np.diff(column.clock) / 2
        slope = np.divide(column.d_sigma, column.sigma, out=np.zeros_like(column.sigma), where=column.sigma > 0)
        rest = column.d_alpha - slope * column.alpha
        ends = column.sigma[1:] == 0
        parts = [1 + half * slope[:-1], half * rest[:-1], half * slope[1:], half * rest[1:]]
        corrected = [np.where(ends, float(n == 2), part) for n, part in enumerate(parts)]
        return np.stack([*column.linear(), *corrected])

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """Euler's."""
        return history, mix(c[0], x, c[1], x0)

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Sequence[Coefficient]) -> Tensor:
        """The step with the mean velocity."""
        return blend(c[2:], (x, x0, y, y0))
