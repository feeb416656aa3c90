"""Closed-form truth for samplers: frames whose clean estimate at any mixture of levels is a formula, no network.

Whatever is sampled with one of them can be compared with the law it should have.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.levels import Levels
from worldgen.sampling.process import Process, per_channel
from worldgen.sampling.sampler import begin, sample
from worldgen.sampling.solvers.base import Solver


@as_value
@dataclass(frozen=True)
class Gaussian:
    """Correlated frames [frames, channels, 1, 1], flattened to vectors of n numbers; float64. A `Denoiser`.

    mean        [n]
    covariance  [n, n], positive definite
    modalities  channels of each by name, in order
    """

    mean: Float[Tensor, "n"]
    covariance: Float[Tensor, "n n"]
    frames: int
    modalities: Mapping[str, int]
    process: Process

    @staticmethod
    def random(frames: int, modalities: Mapping[str, int], process: Process) -> "Gaussian":
        """A mean and a covariance from torch's global generator, standard deviations about 0.5."""
        n = frames * sum(modalities.values())
        root = torch.randn(n, n, dtype=torch.float64) / n**0.5
        covariance = 0.2 * root @ root.T + 0.05 * torch.eye(n, dtype=torch.float64)
        return Gaussian(torch.randn(n, dtype=torch.float64) / 2, covariance, frames, modalities, process)

    def spread(self, level: Float[Tensor, "b f m"]) -> Float[Tensor, "b n"]:
        """The level of each of the n numbers."""
        return per_channel(level, tuple(self.modalities.values())).flatten(1)

    def framed(self, vectors: Float[Tensor, "b n"]) -> Float[Tensor, "b f c 1 1"]:
        """Vectors as frames."""
        return vectors.unflatten(-1, (self.frames, -1, 1, 1))

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """E[x0 | x] for x = A x0 + S noise, A = diag(alpha), S = diag(sigma).

        x0 = mean + C A (A C A + S^2)^-1 (x - A mean)
        """
        return self.framed(self.posterior(x.flatten(1), self.spread(level))[0])

    def posterior(self, x: Float[Tensor, "b n"], level: Float[Tensor, "b n"]) -> tuple[Tensor, Tensor]:
        """E[x0 | x] [b, n], and the log density of x [b]."""
        if bool((level == level[:1]).all()):
            level = level[:1]  # one matrix for the whole batch
        mean, seen, keep = self._seen(level)
        factor = torch.linalg.cholesky(seen)
        residual = x - mean
        solved = (residual[:, None] @ torch.cholesky_inverse(factor)).squeeze(1)
        log = -(residual * solved).sum(-1) / 2 - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.mean + (keep * solved) @ self.covariance, log

    def law(self, level: Float[Tensor, "f m"]) -> tuple[Float[Tensor, "n"], Float[Tensor, "n n"]]:
        """Mean and covariance of x at a row of levels."""
        mean, seen, _ = self._seen(self.spread(level[None].double()))
        return mean[0], seen[0]

    def _seen(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alpha, sigma = self.process.alpha_sigma(level.double())
        noise = torch.diag_embed(sigma.square())
        return alpha * self.mean, alpha[..., None] * self.covariance * alpha[..., None, :] + noise, alpha

    def conditioned(self, known: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [n] and covariance [n, n] given the numbers where `known` [n]; those have their value and no spread."""
        free = ~known
        gain = self.covariance[free][:, known] @ torch.linalg.inv(self.covariance[known][:, known])
        mean, covariance = values.clone(), torch.zeros_like(self.covariance)
        mean[free] = self.mean[free] + gain @ (values - self.mean)[known]
        inner = self.covariance[free][:, free] - gain @ self.covariance[known][:, free]
        covariance[free.nonzero(), free.nonzero().T] = inner
        return mean, covariance

    def end_of_path(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """Where the path through x ends at level 0, all columns being at one level: what a consistency model says.

        mean + C^1/2 (alpha^2 C + sigma^2)^-1/2 (x - alpha mean), for these commute.
        """
        assert bool((level == level.flatten()[0]).all()), "columns at different levels"
        alpha, sigma = self.process.alpha_sigma(level.flatten()[0].double())
        power, directions = torch.linalg.eigh(self.covariance)
        gain = (power / (alpha**2 * power + sigma**2)).sqrt()
        away = (x.flatten(1) - alpha * self.mean) @ directions
        return self.framed(self.mean + (gain * away) @ directions.T)


@as_value
@dataclass(frozen=True)
class Mixture:
    """Frames that come from one of several Gaussians of equal shape: more than one answer. A `Denoiser`.

    weights  [k] of each, summing to 1
    """

    parts: tuple[Gaussian, ...]
    weights: Float[Tensor, "k"]

    @staticmethod
    def random(count: int, frames: int, modalities: Mapping[str, int], process: Process) -> "Mixture":
        """Parts from torch's global generator, far enough apart to be told."""
        parts = [Gaussian.random(frames, modalities, process) for _ in range(count)]
        apart = tuple(Gaussian(2 * p.mean, p.covariance / 2, frames, modalities, process) for p in parts)
        return Mixture(apart, torch.softmax(torch.randn(count, dtype=torch.float64) / 2, 0))

    @property
    def process(self) -> Process:
        """That of the parts."""
        return self.parts[0].process

    @property
    def modalities(self) -> Mapping[str, int]:
        """Those of the parts."""
        return self.parts[0].modalities

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """E[x0 | x]: each part's estimate, by how probable x is in it."""
        first = self.parts[0]
        predictions, logs = zip(*(part.posterior(x.flatten(1), first.spread(level)) for part in self.parts))
        share = (torch.stack(logs) + self.weights.log()[:, None]).softmax(0)
        return first.framed((share[..., None] * torch.stack(predictions)).sum(0))

    def moments(self) -> tuple[Float[Tensor, "n"], Float[Tensor, "n n"]]:
        """Mean and covariance of the clean frames."""
        means = torch.stack([part.mean for part in self.parts])
        mean = self.weights @ means
        within = (self.weights[:, None, None] * torch.stack([part.covariance for part in self.parts])).sum(0)
        away = means - mean
        return mean, within + (self.weights[:, None] * away).T @ away


def blank(batch: int, frames: int) -> Conditioning:
    """Conditioning that says nothing, for denoisers that do not look at it."""
    pose = torch.eye(4).expand(batch, frames, 4, 4)
    return Conditioning.of(Cameras.from_fov(pose, 60.0, (1, 1))).without_cameras()


def on_log_snr(levels: Levels, steps: int, process: Process) -> Levels:
    """Levels of N even steps a column on the even grid of log-SNR instead; what is given stays so."""
    grid = process.level_of(torch.logspace(math.log10(49), -math.log10(49), steps + 1, dtype=torch.float64))
    moving, matrix = ~levels.still, levels.matrix.double()
    at = (steps * (1 - matrix / matrix[0][moving].max())).round().clamp(0, steps).long()
    return Levels(torch.where(moving, grid[at], matrix), partial=True)


def law_error(gaussian: Gaussian, levels: Levels, solver: Solver) -> float:
    """The largest error of mean or covariance in the last row, from the exact law in the first.

    Given columns are somewhat off their mean in it; what stands between clean and unknown is a part of the law.
    """
    given = gaussian.spread((levels.still & (levels.matrix[0] == 0))[None].double()).squeeze(0) > 0
    at_first, at_last = (_given(*gaussian.law(levels.matrix[row]), given, gaussian.mean) for row in (0, -1))
    points = torch.cat([at_first[0][None], at_first[0] + _root(at_first[1], given).T])
    x = gaussian.framed(points)
    start = begin(gaussian, x, levels, solver)
    *_, last = sample(gaussian, x, x, levels, blank(len(x), gaussian.frames), solver, state=start)
    out = last.x.flatten(1)
    matrix = (out[1:] - out[0]).T
    errors = ((out[0] - at_last[0]).abs(), (matrix @ matrix.T - at_last[1]).abs().flatten())
    return float(torch.cat(errors).max())


def _given(mean: Tensor, covariance: Tensor, given: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
    """The law where the given numbers are known to be 0.3 above their mean."""
    free, out, inner = ~given, mean.clone(), torch.zeros_like(covariance)
    gain = covariance[free][:, given] @ torch.linalg.inv(covariance[given][:, given])
    out[given] = center[given] + 0.3
    out[free] = mean[free] + gain @ (out - mean)[given]
    inner[free.nonzero(), free.nonzero().T] = covariance[free][:, free] - gain @ covariance[given][:, free]
    return out, inner


def _root(covariance: Tensor, given: Tensor) -> Tensor:
    power, directions = torch.linalg.eigh(covariance)
    root = directions * power.clamp_min(0).sqrt()
    root[given] = 0
    return root


def convergence_order(
    gaussian: Gaussian, mode: Callable[[int], Levels], solver: Solver, steps: Sequence[int]
) -> tuple[list[float], float]:
    """How fast a solver comes to the exact law: its errors with these numbers of steps, and the slope of the last two.

    mode  levels of a number of even steps a column
    """
    errors = [law_error(gaussian, on_log_snr(mode(n), n, gaussian.process), solver) for n in steps]
    return errors, math.log(errors[-2] / errors[-1]) / math.log(steps[-1] / steps[-2])
