"""`ColumnLevels`: the levels one column comes down through, and its moves from each to the next."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geometry.values import as_value
from worldgen.sampling.process import Process


class LevelValues(NamedTuple):
    """What a process makes of one level, as plain numbers: see `Process`."""

    level: float
    alpha: float
    sigma: float
    clock: float
    d_alpha: float
    d_sigma: float

    @property
    def log_ratio(self) -> float:
        """lambda = log(alpha / sigma), half the log of the signal-to-noise ratio; -inf to inf."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha) - math.log(self.sigma) if self.alpha > 0 else -math.inf

    def noise(self, x: Tensor, x0: Tensor) -> Tensor:
        """eps in x = alpha x0 + sigma eps; 0 at level 0, where nothing of it is seen."""
        return (x - self.alpha * x0) / self.sigma if self.sigma > 0 else torch.zeros_like(x)

    def velocity(self, x: Tensor, x0: Tensor) -> Tensor:
        """dx / dclock where x0 and eps are held."""
        return self.d_alpha * x0 + self.d_sigma * self.noise(x, x0)


@as_value
@dataclass(frozen=True)
class ColumnLevels:
    """The levels of a column, without the rows in which it waits, and what a process makes of them; float64.

    level, alpha, sigma, clock, d_alpha, d_sigma   [moves + 1] each, as in `Process`
    """

    level: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    clock: np.ndarray
    d_alpha: np.ndarray
    d_sigma: np.ndarray

    @staticmethod
    def of(process: Process, level: np.ndarray) -> "ColumnLevels":
        """Those of these levels, which may rise (for inversion)."""
        t = torch.from_numpy(level.astype(np.float64))
        parts = (t, *process.alpha_sigma(t), *process.motion(t))
        return ColumnLevels(*(part.numpy() for part in parts))

    def __len__(self) -> int:
        """The number of moves."""
        return len(self.level) - 1

    def at(self, place: int) -> LevelValues:
        """The values at one of the levels."""
        parts = (self.level, self.alpha, self.sigma, self.clock, self.d_alpha, self.d_sigma)
        return LevelValues(*(float(part[place]) for part in parts))

    @property
    def log_ratio(self) -> np.ndarray:
        """lambda = log(alpha / sigma), half the log of the signal-to-noise ratio; -inf to inf."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha) - np.log(self.sigma)

    def earlier(self, moves: int) -> tuple[np.ndarray, np.ndarray]:
        """alpha and log(alpha / sigma) at the start of the moves-th move before each; NaN where there is none."""
        blank = np.full(min(moves, len(self)), np.nan)
        alpha, log_ratio = (np.concatenate([blank, part])[: len(self)] for part in (self.alpha, self.log_ratio))
        return alpha, log_ratio

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """a, b of x' = a x + b x0, exact where the clean estimate is constant over the step (`Move.first_order`).

        a = sigma' / sigma, b = alpha' - alpha a. From level 0 upwards the noise is expected to be 0: a = 0.
        """
        now, after = self.sigma[:-1], self.sigma[1:]
        a = np.divide(after, now, out=np.zeros_like(now), where=now > 0)
        return a, self.alpha[1:] - self.alpha[:-1] * a


@as_value
@dataclass(frozen=True)
class Move:
    """One move of one column, from the level `now` to the level `after`; `index` of them came before it."""

    column: ColumnLevels
    index: int

    @property
    def now(self) -> LevelValues:
        """Where it starts."""
        return self.column.at(self.index)

    @property
    def after(self) -> LevelValues:
        """Where it ends."""
        return self.column.at(self.index + 1)

    @property
    def left(self) -> int:
        """The number of moves that follow."""
        return len(self.column) - self.index - 1

    def earlier(self, moves: int) -> "Move":
        """The move so many before this one."""
        assert moves <= self.index, f"move {self.index - moves} of a column"
        return Move(self.column, self.index - moves)

    def first_order(self, x: Tensor, x0: Tensor) -> Tensor:
        """x' = alpha' x0 + sigma' eps: exact where the clean estimate is held over the move.

        This is DDIM (Song et al. 2020, eq. 12 with eta 0), Euler's step of x / alpha over sigma / alpha, and the first
        order of DPM-Solver++, sigma' / sigma x - alpha' (e^-h - 1) x0 with h = lambda' - lambda (Lu et al. 2022b).
        """
        return self.after.alpha * x0 + self.after.sigma * self.now.noise(x, x0)
