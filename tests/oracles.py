"""Closed-form truth for samplers: jointly normal frames, whose clean estimate at any mixture of levels is linear."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.cameras import Cameras
from worldgen.conditioning import Conditioning


@dataclass(frozen=True)
class Gaussian:
    """Correlated frames [frames, sum(channels), 1, 1], flattened to vectors of n numbers; float64.

    mean        [n]
    covariance  [n, n], positive definite
    channels    of each modality
    """

    mean: Tensor
    covariance: Tensor
    frames: int
    channels: tuple[int, ...]

    @staticmethod
    def random(frames: int, channels: tuple[int, ...]) -> "Gaussian":
        """A mean and a covariance from torch's global generator, standard deviations about 0.5."""
        n = frames * sum(channels)
        root = torch.randn(n, n, dtype=torch.float64) / n**0.5
        covariance = 0.2 * root @ root.T + 0.05 * torch.eye(n, dtype=torch.float64)
        return Gaussian(torch.randn(n, dtype=torch.float64) / 2, covariance, frames, channels)

    def spread(self, level: Tensor) -> Tensor:
        """The level [b, frames, modalities] of each of the n numbers [b, n]."""
        parts = [level[..., m, None].expand(-1, -1, c) for m, c in enumerate(self.channels)]
        return torch.cat(parts, -1).flatten(1)

    def framed(self, vectors: Tensor) -> Tensor:
        """Vectors [b, n] as frames [b, f, c, 1, 1]."""
        return vectors.unflatten(-1, (self.frames, -1, 1, 1))

    def denoise(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """E[x0 | x] for x = A x0 + S noise, A = diag(1 - level), S = diag(level); a `Denoiser`.

        x0 = mean + C A (A C A + S^2)^-1 (x - A mean)
        """
        t = self.spread(level)
        keep, noise = torch.diag_embed(1 - t), torch.diag_embed(t)
        seen = keep @ self.covariance @ keep + noise @ noise
        residual = x.flatten(1) - (1 - t) * self.mean
        gain = self.covariance @ keep @ torch.linalg.inv(seen)
        return self.framed(self.mean + (gain @ residual[..., None]).squeeze(-1))

    def conditioned(self, known: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [n] and covariance [n, n] given the numbers where `known` [n]; those have their value and no spread."""
        free = ~known
        gain = self.covariance[free][:, known] @ torch.linalg.inv(self.covariance[known][:, known])
        mean, covariance = values.clone(), torch.zeros_like(self.covariance)
        mean[free] = self.mean[free] + gain @ (values - self.mean)[known]
        inner = self.covariance[free][:, free] - gain @ self.covariance[known][:, free]
        covariance[free.nonzero(), free.nonzero().T] = inner
        return mean, covariance


def blank(batch: int, frames: int) -> Conditioning:
    """Conditioning that says nothing, for denoisers that do not look at it."""
    pose = torch.eye(4).expand(batch, frames, 4, 4)
    return Conditioning.of(Cameras.from_fov(pose, 60.0, (1, 1))).without_cameras()
