"""Networks and codecs. They know nothing of files, configurations of runs, or noise."""

from worldgen.models.codec import PixelCodec
from worldgen.models.dit import DiTConfig, MultiViewDiT

__all__ = [
    "DiTConfig",
    "MultiViewDiT",
    "PixelCodec",
]
