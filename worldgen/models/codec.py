"""Between pictures and what the network sees."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float


@dataclass(frozen=True)
class PixelCodec:
    """Space-to-depth by `block` pixels: exact, and needs no weights.

    Modalities, in the order of their latent channels: rgb (3 block^2), the depth signal (block^2; `worldgen.gauge`)
    and, if `layout`, layout maps (3 block^2). rgb and layout in 0..1 become -1..1.
    """

    block: int = 8
    layout: bool = False

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        channels = {"rgb": 3 * self.block**2, "depth": self.block**2}
        return channels | ({"layout": 3 * self.block**2} if self.layout else {})

    @property
    def memory_channels(self) -> int:
        """Latent channels of `encode_memory`."""
        return 5 * self.block**2

    def encode(self, signals: Mapping[str, Float[Tensor, "*b f _ h w"]]) -> Float[Tensor, "*b f c y x"]:
        """Latent frames of {"rgb": [*b, f, 3, h, w], "depth": signal [*b, f, 1, h, w], ...}; zeros for what is missing.

        Raises InputError when a side is no multiple of the block.
        """
        height, width = signals["rgb"].shape[-2:]
        if height % self.block or width % self.block:
            raise InputError(f"pictures of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        parts = []
        for name, channels in self.modalities().items():
            if name in signals:
                parts.append(self._fold(signals[name] if name == "depth" else 2 * signals[name] - 1))
            else:
                parts.append(torch.zeros_like(parts[0][..., :1, :, :]).expand_as(parts[0][..., :channels, :, :]))
        return torch.cat(parts, -3)

    def decode(self, latent: Float[Tensor, "*b f c y x"]) -> dict[str, Tensor]:
        """Pictures of every modality, as `encode` takes them; colours are not clamped."""
        modalities = self.modalities()
        pictures = {
            name: self._unfold(part) for name, part in zip(modalities, latent.split([*modalities.values()], -3))
        }
        return {name: part if name == "depth" else (part + 1) / 2 for name, part in pictures.items()}

    def encode_memory(
        self,
        rgb: Float[Tensor, "*b f 3 h w"],
        depth_signal: Float[Tensor, "*b f 1 h w"],
        visible: Float[Tensor, "*b f 1 h w"],
    ) -> Float[Tensor, "*b f c y x"]:
        """What the 3D memory shows, with how much of each pixel it knows (0..1); exactly zero where that is nothing."""
        known = visible * torch.cat([2 * rgb - 1, depth_signal], -3)
        return self._fold(torch.cat([torch.where(visible > 0, known, 0.0), visible], -3))

    def encode_known(self, depth_known: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b f c y x"]:
        """How much (0..1) of each number of the latent frames is known, where all but some pixels' depth is."""
        depth = self._fold(depth_known)
        parts = {name: depth.new_ones(()).expand(*depth.shape[:-3], c, *depth.shape[-2:])
                 for name, c in self.modalities().items()}  # fmt: skip
        return torch.cat([*(parts | {"depth": depth}).values()], -3)

    def _fold(self, picture: Tensor) -> Tensor:
        return rearrange(picture, "... c (y p) (x q) -> ... (c p q) y x", p=self.block, q=self.block)

    def _unfold(self, latent: Tensor) -> Tensor:
        return rearrange(latent, "... (c p q) y x -> ... c (y p) (x q)", p=self.block, q=self.block)
