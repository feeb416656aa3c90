"""Networks and codecs. They know nothing of files, configurations of runs, or noise (adapters to diffusers do)."""

from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.codec.protocol import Codec
from worldgen.models.network.dit import Cache, DiTConfig, MultiViewDiT, grow
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.network import MultiViewUNet
from worldgen.models.text import HubEncoder, TextConfig, TextEncoder, WordEncoder

__all__ = [
    "Cache",
    "Codec",
    "DiTConfig",
    "HubEncoder",
    "MultiViewDiT",
    "MultiViewUNet",
    "PixelCodec",
    "TextConfig",
    "TextEncoder",
    "UNetConfig",
    "WordEncoder",
    "grow",
]
