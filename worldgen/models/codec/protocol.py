"""What a codec is: between signals of images and the latent frames a network predicts."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from einops import reduce
from torch import Tensor

from geometry.shapes import Float


@runtime_checkable
class Codec(Protocol):
    """Between signals and latent frames. Where `group` > 1, the frames f of a call belong to one camera in the order of
    time: the first is alone in its latent frame, then each latent frame g holds `group` frames.

    Signals are those of `worldgen.core.modalities`, by name: rgb [*b, f, 3, h, w] in 0..1, depth [*b, f, 1, h, w], and
    whatever else the codec has a modality for. A memory render is none of its inputs: networks get that as pixels,
    folded by `worldgen.models.codec.pixel.PixelCodec.encode_memory`, whatever the frames' codec.
    """

    @property
    def block(self) -> int:
        """Pixels per latent on a side."""
        ...

    @property
    def group(self) -> int:
        """Frames per latent frame after the first; 1 = every frame has its own."""
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

    def encode_known(self, known: Mapping[str, Float[Tensor, "*b f 1 h w"]]) -> Float[Tensor, "*b g c y x"]:
        """How much (0..1) of each number of the latent frames is known.

        known  1 where a pixel of that modality is known, else 0; modalities that are not named are known everywhere.
               Exact only where a latent is of one pixel; else `whole_blocks`
        """
        ...


def whole_blocks(codec: Codec, known: Mapping[str, Float[Tensor, "*b f 1 h w"]]) -> Float[Tensor, "*b g c y x"]:
    """`encode_known` of a codec whose latents mix pixels: a latent is known (1) where all pixels of its block in all
    its frames are, else 0, although pixels beyond the block may have a part in it.

    At least one modality must be named.
    """
    blocks = {name: _whole_blocks(codec, mask) for name, mask in known.items()}
    everywhere = torch.ones_like(next(iter(blocks.values())))
    parts = [
        blocks.get(name, everywhere).expand(*everywhere.shape[:-3], channels, -1, -1)
        for name, channels in codec.modalities().items()
    ]
    return torch.cat(parts, -3)


def _whole_blocks(codec: Codec, known: Tensor) -> Float[Tensor, "*b g 1 y x"]:
    first, later = known[..., :1, :, :, :], known[..., 1:, :, :, :]
    frames = torch.cat([first, reduce(later, "... (g k) c h w -> ... g c h w", "min", k=codec.group)], -4)
    return reduce((frames >= 1).to(frames), "... c (y p) (x q) -> ... c y x", "min", p=codec.block, q=codec.block)
