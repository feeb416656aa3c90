"""Solvers: from one row of levels to the next, given the clean estimate. Any of them runs with any process and matrix.

Every step is a sum of a few tensors, whose coefficients follow from the levels alone: a solver computes those of all
rows and columns at once, in float64, before sampling begins (`coefficients`), and in a step only adds up (`step`). Each
column moves at its own pace and remembers its own past; columns that do not change are put back by the sampler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.sampling.solvers.base import Coefficient, Memory, OneCall, blend
from worldgen.sampling.solvers.column import Path
from worldgen.sampling.solvers.unipc import UniPC

__all__ = ["DDIM", "DDPM", "DPM2M", "SOLVERS", "Consistency", "Euler", "Heun", "Solver", "UniPC"]


@runtime_checkable
class Solver(Protocol):
    """How steps are made.

    memory      tensors of the shape of x that the next step of a column needs
    corrects    whether a step looks again where it arrives (`correct`), with a second call of the denoiser
    stochastic  whether a step takes fresh noise
    """

    @property
    def memory(self) -> int: ...

    @property
    def corrects(self) -> bool: ...

    @property
    def stochastic(self) -> bool: ...

    def coefficients(self, path: Path) -> np.ndarray:
        """[terms, moves], all finite."""
        ...

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """What to remember, and x in the next row."""
        ...

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Sequence[Coefficient]) -> Tensor:
        """A better x in the next row, from the estimate y0 at the first guess y; columns that end there are left."""
        ...


@dataclass(frozen=True)
class Euler(OneCall):
    """First order, the clean estimate held over the step; for `VP` this is DDIM. One call of the denoiser."""

    def coefficients(self, path: Path) -> np.ndarray:
        """a and b of x' = a x + b x0."""
        return np.stack(path.linear())

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """One sum."""
        return memory, blend(c, (x, x0))


@dataclass(frozen=True)
class DDIM(OneCall):
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

    def coefficients(self, path: Path) -> np.ndarray:
        """a, b and s of x' = a x + b x0 + s noise."""
        spread = self.eta * posterior_std(path)
        now, after = path.sigma[:-1], path.sigma[1:]
        kept = np.sqrt(np.maximum(after**2 - spread**2, 0))
        a = np.divide(kept, now, out=np.zeros_like(now), where=now > 0)
        return np.stack([a, path.alpha[1:] - path.alpha[:-1] * a, spread])

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """One sum, with fresh noise where eta is not 0."""
        return memory, blend(c[:2], (x, x0)) if fresh is None else blend(c, (x, x0, fresh))


@dataclass(frozen=True)
class DDPM(DDIM):
    """Ancestral sampling (Ho et al. 2020, eq. 11), which is DDIM with eta 1.

    variance  "small", the posterior's, or "large": what the forward process adds between the two levels. No column
              gets noise in its last step
    """

    eta: float = 1.0
    variance: str = "small"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("small", "large"):
            raise InputError(f"DDPM variance {self.variance!r}; expected small or large")

    def coefficients(self, path: Path) -> np.ndarray:
        """As of DDIM, with the larger noise where asked."""
        a, b, spread = super().coefficients(path)
        if self.variance == "large":
            added = path.sigma[:-1] ** 2 - (path.alpha[:-1] / path.alpha[1:] * path.sigma[1:]) ** 2
            spread = np.where(path.sigma[1:] > 0, np.sqrt(np.maximum(added, 0)), 0)
        return np.stack([a, b, spread])


def posterior_std(path: Path) -> np.ndarray:
    """The standard deviation of x in the next row given x and x0 (Kingma et al. 2021, eq. 25)."""
    now, after = path.sigma[:-1], path.sigma[1:]
    reach = path.alpha[1:] * now
    shared = np.divide(path.alpha[:-1] * after, reach, out=np.ones_like(now), where=reach > 0)
    return after * np.sqrt(np.maximum(1 - shared**2, 0))


@dataclass(frozen=True)
class Consistency(OneCall):
    """Jump to the clean estimate, then noise it anew (Song et al. 2023, algorithm 1; latent consistency models): for
    denoisers whose estimate is the end of the path rather than the mean of all ends."""

    stochastic = True

    def coefficients(self, path: Path) -> np.ndarray:
        """alpha' and sigma'."""
        return np.stack([path.alpha[1:], path.sigma[1:]])

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """One sum with fresh noise."""
        assert fresh is not None, "consistency steps take fresh noise"
        return memory, blend(c, (x0, fresh))


@dataclass(frozen=True)
class Heun(OneCall):
    """Second order: the mean velocity of both ends, by the process's clock (Karras et al. 2022, algorithm 1); Euler
    in columns that end. Two calls of the denoiser, one where no column has a level left to correct at."""

    corrects = True

    def coefficients(self, path: Path) -> np.ndarray:
        """Those of Euler's step, then p, q, r, s of x' = p x + q x0 + r y + s y0.

        The velocity is d_alpha x0 + d_sigma (x - alpha x0) / sigma, at both ends.
        """
        half = np.diff(path.clock) / 2
        slope = np.divide(path.d_sigma, path.sigma, out=np.zeros_like(path.sigma), where=path.sigma > 0)
        rest = path.d_alpha - slope * path.alpha
        ends = path.sigma[1:] == 0
        parts = [1 + half * slope[:-1], half * rest[:-1], half * slope[1:], half * rest[1:]]
        corrected = [np.where(ends, float(n == 2), part) for n, part in enumerate(parts)]
        return np.stack([*path.linear(), *corrected])

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """Euler's."""
        return memory, blend(c[:2], (x, x0))

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Sequence[Coefficient]) -> Tensor:
        """The step with the mean velocity."""
        return blend(c[2:], (x, x0, y, y0))


@dataclass(frozen=True)
class DPM2M(OneCall):
    """DPM-Solver++ 2M (Lu et al. 2022b, algorithm 2): second order from the estimates of two steps, one call each.

    First order where a column begins, where it ends, and where log(alpha / sigma) is infinite.
    """

    memory = 1

    def coefficients(self, path: Path) -> np.ndarray:
        """a, b, w of x' = a x + b D with D = x0 + w (x0 - the estimate one move before), as 1 + w for lerp."""
        a, b = path.linear()
        _, before = path.earlier(1)
        log_ratio = path.log_ratio
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.diff(log_ratio) / (2 * (log_ratio[:-1] - before))
        usable = np.isfinite(weight) & np.isfinite(before) & np.isfinite(log_ratio[:-1]) & np.isfinite(log_ratio[1:])
        return np.stack([a, b, 1 + np.where(usable, weight, 0)])

    def step(
        self, memory: Memory, x: Tensor, x0: Tensor, fresh: Tensor | None, c: Sequence[Coefficient]
    ) -> tuple[Memory, Tensor]:
        """Extrapolate the estimate, then one sum."""
        estimate = x0 if isinstance(c[2], float) and c[2] == 1 else torch.lerp(memory[0], x0, c[2])
        return (x0,), blend(c[:2], (x, estimate))


SOLVERS: dict[str, Solver] = {
    "euler": Euler(),
    "heun": Heun(),
    "ddim": DDIM(),
    "ddpm": DDPM(),
    "dpm++2m": DPM2M(),
    "unipc": UniPC(),
    "consistency": Consistency(),
}
