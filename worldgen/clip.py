"""`Clip`: posed, timed frames with colour and depth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float, Int


@dataclass(frozen=True)
class Clip:
    """Frames of one size, each a picture with a camera and a time.

    rgb      [*b, f, 3, h, w] in 0..1, sRGB
    depth    [*b, f, 1, h, w] z-depth in metres, 0 = unknown, inf = sky
    cameras  batch shape [*b, f]
    instances  [*b, f, 1, h, w] 0 = ground, 1.. = objects, -1 = sky; None where nobody knows
    """

    rgb: Float[torch.Tensor, "*b f 3 h w"]
    depth: Float[torch.Tensor, "*b f 1 h w"]
    cameras: Cameras
    instances: Int[torch.Tensor, "*b f 1 h w"] | None = None

    def __post_init__(self) -> None:
        batch, hw = self.rgb.shape[:-3], self.rgb.shape[-2:]
        if self.depth.shape != (*batch, 1, *hw) or self.cameras.shape != batch or self.cameras.hw != tuple(hw):
            raise InputError(
                f"clip: rgb {tuple(self.rgb.shape)}, depth {tuple(self.depth.shape)}, cameras "
                f"{tuple(self.cameras.shape)} of size {self.cameras.hw}; expected one batch shape and one picture size"
            )
        if self.instances is not None and self.instances.shape != self.depth.shape:
            raise InputError(
                f"clip: instances {tuple(self.instances.shape)}; expected one batch shape and one picture size"
            )

    def __len__(self) -> int:
        """The number of frames."""
        return self.rgb.shape[-4]

    def frames(self, index: Any) -> "Clip":
        """The clip of the chosen frames (a slice, a list or a mask over the frame axis)."""
        return self._map(lambda tensor: tensor[..., index, :, :, :], self.cameras[..., index])

    def __getitem__(self, index: int) -> "Clip":
        """One clip of a batch."""
        return self._map(lambda tensor: tensor[index], self.cameras[index])

    def to(self, device: torch.device | str) -> "Clip":
        """The clip on another device."""
        return self._map(lambda tensor: tensor.to(device), self.cameras.to(device))

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], cameras: Cameras) -> "Clip":
        instances = None if self.instances is None else function(self.instances)
        return Clip(function(self.rgb), function(self.depth), cameras, instances)
