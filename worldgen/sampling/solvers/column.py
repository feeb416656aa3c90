"""`Path`: the moves of one column down its ramp, for the formulas of solvers."""

from dataclasses import dataclass

import numpy as np
import torch

from worldgen.sampling.process import Process


@dataclass(frozen=True)
class Path:
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
    def of(process: Process, level: np.ndarray) -> "Path":
        """The path through levels, which may rise (for inversion)."""
        t = torch.from_numpy(level.astype(np.float64))
        parts = (t, *process.alpha_sigma(t), *process.motion(t))
        return Path(*(part.numpy() for part in parts))

    def __len__(self) -> int:
        """The number of moves."""
        return len(self.level) - 1

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
        """a, b of x' = a x + b x0, exact where the clean estimate is constant over the step.

        a = sigma' / sigma, b = alpha' - alpha a: for any process this is DDIM (Song et al. 2020, eq. 12 with eta 0),
        Euler's step in sigma / alpha. From level 0 upwards the noise is expected to be 0: a = 0.
        """
        now, after = self.sigma[:-1], self.sigma[1:]
        a = np.divide(after, now, out=np.zeros_like(now), where=now > 0)
        return a, self.alpha[1:] - self.alpha[:-1] * a
