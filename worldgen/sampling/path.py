"""`Path`: where each column of a matrix of levels comes from and goes to, for the formulas of solvers."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from geometry.shapes import Float
from worldgen.sampling.process import Process

Numbers = np.ndarray  # float64 [rows - 1, frames, modalities]


@dataclass(frozen=True)
class Path:
    """The steps of a matrix of levels: arrays [rows - 1, frames, modalities], a number a step and column.

    level, alpha, sigma, clock, d_alpha, d_sigma   of every row [rows, frames, modalities] (`Process.motion`)
    moving      whether the column changes in this step
    done, left  how often it did before, and will after
    """

    level: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    clock: np.ndarray
    d_alpha: np.ndarray
    d_sigma: np.ndarray
    moving: np.ndarray
    done: np.ndarray
    left: np.ndarray

    @staticmethod
    def of(process: Process, matrix: Float[Tensor, "r f m"]) -> "Path":
        """The path of a process through the rows of a matrix, which may rise (for inversion)."""
        level = matrix.detach().double().cpu()
        alpha, sigma = process.alpha_sigma(level)
        clock, d_alpha, d_sigma = process.motion(level)
        parts = (part.numpy() for part in (level, alpha, sigma, clock, d_alpha, d_sigma))
        moving = (level[1:] != level[:-1]).numpy()
        count = np.cumsum(moving, 0)
        return Path(*parts, moving=moving, done=count - moving, left=count[-1:] - count)

    def earlier(self, moves: int) -> tuple[Numbers, Numbers]:
        """alpha and log(alpha / sigma) at the start of the column's moves-th last move; NaN where there is none."""
        last = np.where(self.moving, np.arange(len(self.moving))[:, None, None], -1)
        last = np.concatenate([np.full_like(last[:1], -1), np.maximum.accumulate(last, 0)[:-1]])
        at = np.broadcast_to(np.arange(len(self.moving))[:, None, None], last.shape)
        for _ in range(moves):
            at = np.where(at >= 0, np.take_along_axis(last, np.maximum(at, 0), 0), -1)
        found = (np.take_along_axis(part, np.maximum(at, 0), 0) for part in (self.alpha, self.log_ratio))
        alpha, log_ratio = (np.where(at >= 0, part, np.nan) for part in found)
        return alpha, log_ratio

    @property
    def log_ratio(self) -> np.ndarray:
        """lambda = log(alpha / sigma), half the log of the signal-to-noise ratio, of every row; -inf to inf."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha) - np.log(self.sigma)

    def linear(self) -> tuple[Numbers, Numbers]:
        """a, b of x' = a x + b x0, exact where the clean estimate is constant over the step.

        a = sigma' / sigma, b = alpha' - alpha a: for any process this is DDIM (Song et al. 2020, eq. 12 with eta 0),
        Euler's step in sigma / alpha. From level 0 upwards the noise is expected to be 0: a = 0.
        """
        now, after = self.sigma[:-1], self.sigma[1:]
        a = np.divide(after, now, out=np.zeros_like(now), where=now > 0)
        return a, self.alpha[1:] - self.alpha[:-1] * a
