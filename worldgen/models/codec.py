"""Between pictures and what the network sees."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float


@runtime_checkable
class Codec(Protocol):
    """What stands between pictures and latent frames. The frames f of a call belong to one camera in the order of
    time where `group` > 1: the first is alone in its latent frame, then each latent frame g holds `group` frames.
    """

    @property
    def block(self) -> int:
        """Pixels per latent on a side."""
        ...

    @property
    def group(self) -> int:
        """Frames per latent frame after the first; 1 = no frame shares its latent frame."""
        ...

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        ...

    def encode(
        self, rgb: Float[Tensor, "*b f 3 h w"], depth_signal: Float[Tensor, "*b f 1 h w"]
    ) -> Float[Tensor, "*b g c y x"]:
        """Latent frames. Raises InputError for sides or frame counts that don't fill blocks and groups."""
        ...

    def decode(
        self, latent: Float[Tensor, "*b g c y x"]
    ) -> tuple[Float[Tensor, "*b f 3 h w"], Float[Tensor, "*b f 1 h w"]]:
        """rgb (not clamped) and depth signal."""
        ...


@dataclass(frozen=True)
class PixelCodec:
    """Space-to-depth by `block` pixels: exact, and needs no weights. A latent frame has 3 block^2 rgb channels, then
    block^2 of depth signal (`worldgen.gauge`); rgb in 0..1 becomes -1..1.
    """

    block: int = 8

    @property
    def group(self) -> int:
        """Frames per latent frame: every frame is alone."""
        return 1

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        return {"rgb": 3 * self.block**2, "depth": self.block**2}

    def encode(
        self, rgb: Float[Tensor, "*b f 3 h w"], depth_signal: Float[Tensor, "*b f 1 h w"]
    ) -> Float[Tensor, "*b f c y x"]:
        """Latent frames. Raises InputError when a side is no multiple of the block."""
        height, width = rgb.shape[-2:]
        if height % self.block or width % self.block:
            raise InputError(f"pictures of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        return torch.cat([self._fold(2 * rgb - 1), self._fold(depth_signal)], -3)

    def decode(self, latent: Float[Tensor, "*b f c y x"]) -> tuple[Tensor, Tensor]:
        """rgb [*b, f, 3, h, w] (not clamped) and depth signal [*b, f, 1, h, w]."""
        rgb, depth = latent.split(list(self.modalities().values()), -3)
        return (self._unfold(rgb) + 1) / 2, self._unfold(depth)

    def _fold(self, picture: Tensor) -> Tensor:
        return rearrange(picture, "... c (y p) (x q) -> ... (c p q) y x", p=self.block, q=self.block)

    def _unfold(self, latent: Tensor) -> Tensor:
        return rearrange(latent, "... (c p q) y x -> ... c (y p) (x q)", p=self.block, q=self.block)
