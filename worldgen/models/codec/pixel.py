"""Between images and what the network sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange, reduce
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float


@runtime_checkable
class Codec(Protocol):
    """What stands between images and latent frames. The frames f of a call belong to one camera in the order of
    time where `group` > 1: the first is alone in its latent frame, then each latent frame g holds `group` frames.

    Signals are {"rgb": [*b, f, 3, h, w] in 0..1, "depth": signal [*b, f, 1, h, w]} (`worldgen.core.normalization`), and
    what else the codec has a modality for. What a 3D memory shows is no codec's matter: the network sees it as pixels,
    folded by `PixelCodec.encode_memory`, whatever the frames' codec.
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

    def encode(self, signals: Mapping[str, Float[Tensor, "*b f _ h w"]]) -> Float[Tensor, "*b g c y x"]:
        """Latent frames. Raises InputError for sides or frame counts that don't fill blocks and groups."""
        ...

    def decode(self, latent: Float[Tensor, "*b g c y x"]) -> dict[str, Tensor]:
        """The signals of every modality, as `encode` takes them; colors are not clamped."""
        ...

    def encode_known(self, depth_known: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b g c y x"]:
        """How much (0..1) of each number of the latent frames is known, where all but some pixels' depth is. Exact
        only where a latent is of one pixel; else `whole_blocks`."""
        ...


def whole_blocks(codec: Codec, depth_known: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b g c y x"]:
    """`encode_known` of a codec whose latents mix pixels: depth's is known (1) where all pixels of its block in all its
    frames are, else 0. Pixels beyond the block that it sees as well are not asked for.
    """
    first, later = depth_known[..., :1, :, :, :], depth_known[..., 1:, :, :, :]
    frames = torch.cat([first, reduce(later, "... (g k) c h w -> ... g c h w", "min", k=codec.group)], -4)
    block = reduce((frames >= 1).to(frames), "... c (y p) (x q) -> ... c y x", "min", p=codec.block, q=codec.block)
    parts = [
        (block if name == "depth" else torch.ones_like(block)).expand(*block.shape[:-3], channels, -1, -1)
        for name, channels in codec.modalities().items()
    ]
    return torch.cat(parts, -3)


@dataclass(frozen=True)
class PixelCodec:
    """Space-to-depth by `block` pixels: exact, and needs no weights.

    Modalities, in the order of their latent channels: rgb (3 block^2), the depth signal (block^2;
    `worldgen.core.normalization`) and, if `layout`, layout maps (3 block^2). rgb and layout in 0..1 become -1..1.
    """

    block: int = 8
    layout: bool = False

    @property
    def group(self) -> int:
        """Frames per latent frame: every frame is alone."""
        return 1

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
            raise InputError(f"images of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        parts = []
        for name, channels in self.modalities().items():
            if name in signals:
                parts.append(self._fold(signals[name] if name == "depth" else 2 * signals[name] - 1))
            else:
                parts.append(torch.zeros_like(parts[0][..., :1, :, :]).expand_as(parts[0][..., :channels, :, :]))
        return torch.cat(parts, -3)

    def decode(self, latent: Float[Tensor, "*b f c y x"]) -> dict[str, Tensor]:
        """Images of every modality, as `encode` takes them; colors are not clamped."""
        modalities = self.modalities()
        images = {name: self._unfold(part) for name, part in zip(modalities, latent.split([*modalities.values()], -3))}
        return {name: part if name == "depth" else (part + 1) / 2 for name, part in images.items()}

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

    def _fold(self, image: Tensor) -> Tensor:
        return rearrange(image, "... c (y p) (x q) -> ... (c p q) y x", p=self.block, q=self.block)

    def _unfold(self, latent: Tensor) -> Tensor:
        return rearrange(latent, "... (c p q) y x -> ... c (y p) (x q)", p=self.block, q=self.block)
