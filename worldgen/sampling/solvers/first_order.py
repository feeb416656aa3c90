"""Solvers of first order: one call of the denoiser a step, no history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from geometry.errors import InputError
from worldgen.sampling.solvers.base import Coefficient, SolverHistory, TableSolver, blend, mix
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move


@dataclass(frozen=True)
class Euler(TableSolver):
    """First order, the clean estimate held over the step; for `VP` this is DDIM. One call of the denoiser."""

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """x' = alpha' x0 + sigma' eps; for `Flow` that is x + (t' - t) (eps - x0)."""
        return history, move.first_order(x, x0)

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """a and b of x' = a x + b x0."""
        return np.stack(column.linear())

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """One sum."""
        return history, mix(c[0], x, c[1], x0)


@dataclass(frozen=True)
class DDIM(TableSolver):
    """Denoising diffusion implicit models (Song et al. 2020, eq. 12 and 16): eta 0 is Euler, eta 1 is ancestral.

    The variance of the fresh noise is eta^2 times the posterior's, sigma'^2 (1 - (alpha sigma' / alpha' sigma)^2),
    which holds for every process.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"DDIM eta {self.eta}; expected 0 to 1")

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Where eta is not 0."""
        return self.eta > 0

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """x' = alpha' x0 + sqrt(sigma'^2 - s^2) eps + s noise (eq. 12)."""
        if self.eta == 0:
            return history, move.first_order(x, x0)
        now, after = move.now, move.after
        s = self.eta * after.sigma * (1 - (now.alpha * after.sigma / (after.alpha * now.sigma)) ** 2) ** 0.5  # eq. 16
        return history, after.alpha * x0 + (after.sigma**2 - s**2) ** 0.5 * now.noise(x, x0) + s * noise

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """a, b and s of x' = a x + b x0 + s noise."""
        spread = self.eta * posterior_std(column)
        now, after = column.sigma[:-1], column.sigma[1:]
        kept = np.sqrt(np.maximum(after**2 - spread**2, 0))
        a = np.divide(kept, now, out=np.zeros_like(now), where=now > 0)
        return np.stack([a, column.alpha[1:] - column.alpha[:-1] * a, spread])

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """One sum, with fresh noise where eta is not 0."""
        return history, mix(c[0], x, c[1], x0) if noise is None else blend(c, (x, x0, noise))


def posterior_std(column: ColumnLevels) -> np.ndarray:
    """The standard deviation of x in the next row given x and x0 (Kingma et al. 2021, eq. 25)."""
    now, after = column.sigma[:-1], column.sigma[1:]
    reach = column.alpha[1:] * now
    shared = np.divide(column.alpha[:-1] * after, reach, out=np.ones_like(now), where=reach > 0)
    return after * np.sqrt(np.maximum(1 - shared**2, 0))


@dataclass(frozen=True)
class DDPM(TableSolver):
    """Ancestral sampling (Ho et al. 2020, eq. 11), which is DDIM with eta 1.

    variance  "small", the posterior's, or "large": what the forward process adds between the two levels. No column
              gets noise in its last step
    """

    stochastic = True
    variance: str = "small"

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large"):
            raise InputError(f"DDPM variance {self.variance!r}; expected small or large")

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """x' = mean + s noise, the posterior of x' given x and x0 (Ho et al. 2020, eq. 6 and 7, for any process)."""
        now, after = move.now, move.after
        kept = now.alpha / after.alpha  # sqrt(1 - beta) there
        added = now.sigma**2 - (kept * after.sigma) ** 2  # beta there
        mean = (kept * after.sigma**2 * x + after.alpha * added * x0) / now.sigma**2  # eq. 7
        small = added**0.5 * after.sigma / now.sigma  # beta tilde of eq. 7
        large = added**0.5 if after.sigma > 0 else 0.0  # section 3.2
        return history, mean + (small if self.variance == "small" else large) * noise  # eq. 11

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """As of DDIM, with the larger noise where asked."""
        a, b, spread = DDIM(1.0).coefficients(column)
        if self.variance == "large":
            added = column.sigma[:-1] ** 2 - (column.alpha[:-1] / column.alpha[1:] * column.sigma[1:]) ** 2
            spread = np.where(column.sigma[1:] > 0, np.sqrt(np.maximum(added, 0)), 0)
        return np.stack([a, b, spread])

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """One sum with fresh noise."""
        assert noise is not None, "ancestral steps take fresh noise"
        return history, blend(c, (x, x0, noise))


@dataclass(frozen=True)
class Consistency(TableSolver):
    """Jump to the clean estimate, then noise it anew (Song et al. 2023, algorithm 1; latent consistency models): for
    denoisers whose estimate is the end of the path rather than the mean of all ends."""

    stochastic = True

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """x' = alpha' x0 + sigma' noise (algorithm 1)."""
        return history, move.after.alpha * x0 + move.after.sigma * noise

    def coefficients(self, column: ColumnLevels) -> np.ndarray:
        """alpha' and sigma'."""
        return np.stack([column.alpha[1:], column.sigma[1:]])

    def step(
        self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[SolverHistory, Tensor]:
        """One sum with fresh noise."""
        assert noise is not None, "consistency steps take fresh noise"
        return history, mix(c[0], x0, c[1], noise)
