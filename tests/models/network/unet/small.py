"""The smallest second stage, awake (no weight is zero), and clips to show it."""

from dataclasses import replace

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.trajectory.paths import orbit
from tests.models.tiny import awake, posed
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import Normalization
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.config import ModelConfig
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.network import MultiViewUNet
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

CONFIG = UNetConfig(widths=(8, 8, 8, 8, 16), planes=12, heads=2, sources=3)


def small_unet(config: UNetConfig = CONFIG) -> MultiViewUNet:
    """The network with normal numbers in all its weights."""
    return awake(MultiViewUNet(config), 0.1)


def small_model(name: str = "small test", size_px: int = 16, coarse: str | None = None) -> ModelConfig:
    """A model of it."""
    return ModelConfig(name, size_px, 3, PixelCodec(1), network=CONFIG, backbone="unet", coarse=coarse)


def shown(
    batch: int, frames: int, hw: tuple[int, int] = (16, 16), known: int = 2
) -> tuple[Tensor, Tensor, Conditioning]:
    """Random frames, of which the first are given, with cameras and a coarse clip of half the size."""
    level = torch.ones(batch, frames, 2)
    level[:, :known, 0] = 0
    coarse = 0.5 * torch.rand(batch, frames, 4, hw[0] // 2, hw[1] // 2)
    return torch.randn(batch, frames, 4, *hw), level, replace(posed(batch, frames, hw), coarse=coarse)


def scene(frames: int = 3, hw: tuple[int, int] = (32, 32), seed: int = 3) -> tuple[Clip, Normalization]:
    """Frames of a rendered scene [1, f] a few degrees apart, with exact depth, and their normalization."""
    cameras = Cameras.from_fov(orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, 40)[:frames], 52.0, hw)
    clip = render(tabletop(0, [seed], held_out=True), cameras[None])
    return clip, Normalization.of(clip.cameras, torch.tensor([3.0]))
