"""DPM-Solver++ 2M: second order from the estimates of two steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgen.sampling.solvers.base import Coefficient, SolverHistory, TableSolver, mix
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move


@dataclass(frozen=True)
class DPM2M(TableSolver):
    """DPM-Solver++ 2M (Lu et al. 2022b, algorithm 2): second order from the estimates of two steps, one call each.

    First order where a column begins, where it ends, and where log(alpha / sigma) is infinite.
    """

    history = 1

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """x' = sigma' / sigma x - alpha' (e^-h - 1) D (algorithm 2)."""
        D, after, now = x0, move.after.log_ratio, move.now.log_ratio
        before = move.earlier(1).now.log_ratio if move.index else math.inf
        if math.isfinite(after) and math.isfinite(now) and math.isfinite(before):
            r = (now - before) / (after - now)
            D = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * history[0]
        return (x0,), move.first_order(x, D)

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """a, b, w of x' = a x + b D with D = x0 + w (x0 - the estimate one move before), as 1 + w for lerp."""
        a, b = column.linear()
        _, before = column.earlier(1)
        log_ratio = column.log_ratio
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.diff(log_ratio) / (2 * (log_ratio[:-1] - before))
        usable = np.isfinite(weight) & np.isfinite(before) & np.isfinite(log_ratio[:-1]) & np.isfinite(log_ratio[1:])
        return np.stack([a, b, 1 + np.where(usable, weight, 0)])

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """Extrapolate the estimate, then one sum."""
        estimate = x0 if isinstance(c[2], float) and c[2] == 1 else torch.lerp(history[0], x0, c[2])
        return (x0,), mix(c[0], x, c[1], estimate)
