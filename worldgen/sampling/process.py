"""Processes: how a level mixes signal and noise, and what a network's output means.

x = alpha x0 + sigma noise. Each process defines alpha and sigma at a level in 0..1; level 0 is clean (alpha 1, sigma 0)
in all of them.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning

# (x [b f c h w], level [b f m], conditioning) -> what it predicts (`Process.target`), [b f c h w]
Network = Callable[[Tensor, Tensor, Conditioning], Tensor]

TARGETS = ("x0", "eps", "velocity", "v", "score", "residual")
VP_SCHEDULES = ("linear", "scaled_linear", "cosine", "zero_terminal")


def per_channel(level: Float[Tensor, "*b f m"], channels: tuple[int, ...]) -> Float[Tensor, "*b f c 1 1"]:
    """Spread the level of each (frame, modality) over that modality's channels and all pixels."""
    assert level.shape[-1] == len(channels), f"{level.shape[-1]} modalities of levels for {len(channels)} of channels"
    counts = torch.tensor(channels, device=level.device)
    return torch.repeat_interleave(level, counts, -1, output_size=sum(channels))[..., None, None]


@dataclass(frozen=True)
class Process(ABC):
    """How a level mixes signal and noise: x = alpha x0 + sigma noise. Base of `Flow`, `EDM` and `VP`.

    Args:
        data_std: Standard deviation of clean signals, which the preconditioning assumes.
        target: What a network predicts: x0, eps, velocity, v, score or residual (see `mixture`). A denoiser returns x0
            whatever it is.

    Raises:
        InputError: For an unknown target, one that is undefined at level 1, or data_std of 0 or less.
    """

    data_std: float = 0.5
    target: str = "x0"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f"process target {self.target!r}; expected one of {', '.join(TARGETS)}")
        if not self.data_std > 0:
            raise InputError(f"process data_std {self.data_std}; expected more than 0")
        if self.target in ("eps", "score") and not self.alpha_sigma(torch.ones(1))[0] > 0:
            raise InputError(f"process target {self.target!r} where level 1 has no signal; expected x0, v or velocity")

    @abstractmethod
    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma, the shares of signal and noise at a level."""

    @abstractmethod
    def motion(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The clock by which second-order solvers measure steps, and the derivatives of alpha and sigma by it."""

    def level_of(self, ratio: Tensor) -> Tensor:
        """The level with this ratio sigma / alpha (0 to infinity), by bisection; float64."""
        low, high = torch.zeros_like(ratio, dtype=torch.float64), torch.ones_like(ratio, dtype=torch.float64)
        for _ in range(64):
            middle = (low + high) / 2
            alpha, sigma = self.alpha_sigma(middle)
            above = sigma > ratio * alpha
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2

    def spread(self, level: Tensor) -> Tensor:
        """The standard deviation of x, by which a network's input is divided."""
        alpha, sigma = self.alpha_sigma(level)
        return ((alpha * self.data_std).square() + sigma.square()).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """x at a level that broadcasts against x0. Level 0 returns x0 bit for bit, level 1 has nothing of it."""
        alpha, sigma = self.alpha_sigma(level)
        return torch.where(level == 0, x0, alpha * torch.where(level == 1, 0.0, x0) + sigma * noise)

    def mixture(self, level: Tensor, target: str) -> tuple[Tensor, Tensor]:
        """skip and out of x0 = skip x + out predicted, for a network that predicts

        x0        the clean signal
        eps       the noise (Ho et al. 2020)
        score     the gradient of the log density, -eps / sigma (Song et al. 2021)
        v         alpha eps - sigma x0 (Salimans & Ho 2022, appendix D)
        velocity  dx / dclock along the path through x0 and eps: eps - x0 for `Flow` (Lipman et al. 2022)
        residual  the error of the best linear estimate, at unit variance (Karras et al. 2022, eq. 7)
        """
        alpha, sigma = self.alpha_sigma(level)
        if target == "eps":
            return 1 / alpha, -sigma / alpha
        if target == "score":
            return 1 / alpha, sigma.square() / alpha
        if target == "v":
            power = alpha.square() + sigma.square()
            return alpha / power, -sigma / power
        if target == "velocity":
            _, d_alpha, d_sigma = self.motion(level)
            determinant = sigma * d_alpha - d_sigma * alpha
            return -d_sigma / determinant, sigma / determinant
        if target == "residual":
            power = (alpha * self.data_std).square() + sigma.square()
            return alpha * self.data_std**2 / power, sigma * self.data_std / power.sqrt()
        return torch.zeros_like(alpha), torch.ones_like(alpha)

    def x0_from(self, x: Tensor, predicted: Tensor, level: Tensor, target: str | None = None) -> Tensor:
        """The clean estimate from x and a network's prediction of `target` (default: the process's own)."""
        target = target or self.target
        if target == "x0":
            return predicted
        skip, out = self.mixture(level, target)
        return torch.addcmul(skip * x, out, predicted)

    def predicted_from(self, x: Tensor, x0: Tensor, level: Tensor, target: str) -> Tensor:
        """What a network with that target predicts where the clean estimate is x0: the inverse of `x0_from`."""
        skip, out = self.mixture(level, target)
        return (x0 - skip * x) / out

    def precondition(self, network: Network, modalities: Mapping[str, int]) -> "PreconditionedDenoiser":
        """A network with inputs and outputs of about unit variance as a `Denoiser` of these modalities.

        modalities  latent channels of each by name, in the order of the network's channels and levels
        """
        return PreconditionedDenoiser(network, self, modalities)


@as_value
@dataclass(frozen=True)
class PreconditionedDenoiser:
    """`Process.precondition`: scales a network's input and output, and returns what is at level 0 as it is.

    By default the network predicts the clean signal itself: images lie on a low-dimensional manifold and noise does
    not, so only this target fits through tokens narrower than their patch (Li & He 2025, "Back to Basics", table 2). We
    saw the same: predicting the residual of the best linear estimate left grain in 64-pixel samples at patches of 8.
    """

    network: Network
    process: Process
    modalities: Mapping[str, int]

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The clean estimate x0 [b, f, c, h, w] of x [b, f, c, h, w] at levels [b, f, m]."""
        process = self.process
        t = per_channel(level, tuple(self.modalities.values()))
        scale = process.data_std if process.target == "x0" else 1.0
        predicted = scale * self.network(x / process.spread(t), level, conditioning)
        return torch.where(t == 0, x, process.x0_from(x, predicted, t))


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow (Liu et al. 2022; Lipman et al. 2022): x = (1 - level) x0 + level noise. Its clock is the level.

    Args:
        data_std: Standard deviation of clean signals.
        target: What a network predicts; see `Process`.
    """

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """1 - level and level."""
        return 1 - level, level

    def motion(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The level itself, -1 and 1."""
        return level, -torch.ones_like(level), torch.ones_like(level)

    def level_of(self, ratio: Tensor) -> Tensor:
        """ratio / (1 + ratio)."""
        ratio = ratio.double()
        return torch.where(ratio.isinf(), 1.0, ratio / (1 + ratio))


@dataclass(frozen=True)
class EDM(Process):
    """x = x0 + sigma noise with sigma = sigma_max level^rho (Karras et al. 2022, eq. 5 with sigma_min 0). Its clock is
    sigma.

    Args:
        data_std: Standard deviation of clean signals.
        target: What a network predicts; see `Process`.
        sigma_max: Standard deviation of the noise at level 1.
        rho: Exponent: the higher, the more of the levels are for little noise.
    """

    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.sigma_max > 0 and self.rho > 0):
            raise InputError(f"EDM with sigma_max {self.sigma_max}, rho {self.rho}; expected more than 0")

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """1 and sigma."""
        return torch.ones_like(level), self.sigma_max * level**self.rho

    def motion(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sigma, 0 and 1."""
        return self.alpha_sigma(level)[1], torch.zeros_like(level), torch.ones_like(level)

    def level_of(self, ratio: Tensor) -> Tensor:
        """The rho-th root of ratio / sigma_max."""
        return (ratio.double() / self.sigma_max).clamp_max(1) ** (1 / self.rho)


@dataclass(frozen=True)
class VP(Process):
    """Variance preserving: alpha^2 + sigma^2 = 1. Its clock is the angle atan2(sigma, alpha), its velocity v.

    Args:
        data_std: Standard deviation of clean signals.
        target: What a network predicts; see `Process`.
        schedule: "linear": DDPM's betas from 1e-4 to 0.02 in 1,000 steps, their continuous limit (Ho et al. 2020; Song
            et al. 2021, eq. 33); "scaled_linear": latent diffusion's, 0.00085 to 0.012, linear in their roots;
            "cosine": Nichol & Dhariwal 2021, eq. 17; "zero_terminal": linear with nothing left of the signal at level 1
            (Lin et al. 2023, algorithm 1).
    """

    schedule: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule not in VP_SCHEDULES:
            raise InputError(f"VP schedule {self.schedule!r}; expected one of {', '.join(VP_SCHEDULES)}")

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sqrt(1 - alpha^2)."""
        if self.schedule == "cosine":
            start = 0.008
            alpha = (math.pi / 2 * (level + start) / (1 + start)).cos() / math.cos(math.pi / 2 * start / (1 + start))
            # cos(pi / 2) is not 0 in floating point.
            alpha = torch.where(level == 1, 0.0, alpha)
            return alpha, (1 - alpha.square()).clamp_min(0).sqrt()
        low, high = {"scaled_linear": (0.85, 12.0)}.get(self.schedule, (0.1, 20.0))
        if self.schedule == "scaled_linear":
            first, slope = math.sqrt(low), math.sqrt(high) - math.sqrt(low)
            spent = ((first + slope * level) ** 3 - first**3) / (3 * slope)
        else:
            spent = low * level + (high - low) / 2 * level.square()
        alpha = torch.exp(-spent / 2)
        if self.schedule == "zero_terminal":
            last = math.exp(-(low + high) / 4)
            alpha = torch.where(level == 1, 0.0, (alpha - last) / (1 - last))
            return alpha, (1 - alpha.square()).clamp_min(0).sqrt()
        return alpha, (-torch.expm1(-spent)).sqrt()

    def motion(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The angle, -sigma and alpha."""
        alpha, sigma = self.alpha_sigma(level)
        return torch.atan2(sigma, alpha), -sigma, alpha
