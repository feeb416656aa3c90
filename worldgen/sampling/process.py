"""The flow process: how a level mixes signal and noise, and what the network's output means."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.conditioning import Conditioning

# (x [b f c h w], level [b f m], conditioning) -> the clean estimate x0 [b f c h w]
Denoiser = Callable[[Tensor, Tensor, Conditioning], Tensor]


def per_channel(level: Float[Tensor, "*b f m"], channels: tuple[int, ...]) -> Float[Tensor, "*b f c 1 1"]:
    """Spread the level of each (frame, modality) over that modality's channels and all pixels."""
    assert level.shape[-1] == len(channels), f"{level.shape[-1]} modalities of levels for {len(channels)} of channels"
    counts = torch.tensor(channels, device=level.device)
    return torch.repeat_interleave(level, counts, -1, output_size=sum(channels))[..., None, None]


TARGETS = ("x0", "velocity", "v")


@dataclass(frozen=True)
class Flow:
    """Rectified flow (Liu et al. 2022; Lipman et al. 2022): x = (1 - level) x0 + level noise.

    data_std  the spread of clean signals, which the preconditioning assumes
    target    what a network predicts: "x0", the clean signal; "velocity", noise - x0; or "v", (1 - level) noise - level
              x0 (Salimans & Ho 2022, appendix D). Denoisers answer x0 whatever it is.
    """

    data_std: float = 0.5
    target: str = "x0"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f"process target {self.target!r}; expected one of {', '.join(TARGETS)}")
        if not self.data_std > 0:
            raise InputError(f"process data_std {self.data_std}; expected more than 0")

    def add_noise(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """The noised frames; level broadcasts against x0. Level 0 returns x0 bit for bit."""
        return torch.where(level == 0, x0, (1 - level) * x0 + level * noise)

    def velocity(self, x: Tensor, x0: Tensor, level: Tensor) -> Tensor:
        """dx/dlevel = noise - x0 along the straight path through x, given the clean estimate."""
        return (x - x0) / level

    def clean(self, x: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """The clean estimate that follows from x and what the network predicted."""
        if self.target == "velocity":
            return x - level * predicted
        if self.target == "v":
            signal = 1 - level
            return (signal * x - level * predicted) / (signal.square() + level.square())
        return predicted

    def precondition(
        self, network: Callable[[Tensor, Tensor, Conditioning], Tensor], channels: tuple[int, ...]
    ) -> Denoiser:
        """A network with inputs and outputs of about unit variance as a denoiser.

        By default the network predicts the clean signal itself: pictures lie on a low-dimensional manifold and noise
        does not, so only this target fits through tokens narrower than their patch (Li & He 2025, "Back to Basics",
        table 2). We saw the same: predicting the residual of the best linear estimate (Karras et al. 2022) left grain
        in 64-pixel samples at patches of 8. What is at level 0 is known and returned as it is.
        """
        scale = self.data_std if self.target == "x0" else 1.0

        def denoise(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
            t = per_channel(level, channels)
            spread = (((1 - t) * self.data_std).square() + t.square()).sqrt()
            return torch.where(t == 0, x, self.clean(x, scale * network(x / spread, level, conditioning), t))

        return denoise
