"""`Clip`: posed, timed frames with colour and depth."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float


@dataclass(frozen=True)
class Clip:
    """Frames of one size, each a picture with a camera and a time.

    rgb      [*b, f, 3, h, w] in 0..1, sRGB
    depth    [*b, f, 1, h, w] z-depth in metres, 0 = unknown, inf = sky
    cameras  batch shape [*b, f]
    """

    rgb: Float[torch.Tensor, "*b f 3 h w"]
    depth: Float[torch.Tensor, "*b f 1 h w"]
    cameras: Cameras

    def __post_init__(self) -> None:
        batch, hw = self.rgb.shape[:-3], self.rgb.shape[-2:]
        if self.depth.shape != (*batch, 1, *hw) or self.cameras.shape != batch or self.cameras.hw != tuple(hw):
            raise InputError(
                f"clip: rgb {tuple(self.rgb.shape)}, depth {tuple(self.depth.shape)}, cameras "
                f"{tuple(self.cameras.shape)} of size {self.cameras.hw}; expected one batch shape and one picture size"
            )

    def __len__(self) -> int:
        """The number of frames."""
        return self.rgb.shape[-4]

    def frames(self, index: Any) -> "Clip":
        """The clip of the chosen frames (a slice, a list or a mask over the frame axis)."""
        return Clip(self.rgb[..., index, :, :, :], self.depth[..., index, :, :, :], self.cameras[..., index])

    def __getitem__(self, index: int) -> "Clip":
        """One clip of a batch."""
        return Clip(self.rgb[index], self.depth[index], self.cameras[index])

    def to(self, device: torch.device | str) -> "Clip":
        """The clip on another device."""
        return replace(self, rgb=self.rgb.to(device), depth=self.depth.to(device), cameras=self.cameras.to(device))
