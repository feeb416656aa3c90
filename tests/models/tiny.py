"""The smallest model with every part, awake (no weight is zero), and something to show it."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from worldgen.core.conditioning import Conditioning
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.config import ModelConfig
from worldgen.models.network.dit import DiTConfig

BLOCK = 4
CHANNELS = {"rgb": 3 * BLOCK**2, "depth": BLOCK**2}


def tiny_config(
    plucker: bool = True, prope: bool = True, attention: tuple[str, ...] = ("full", "frame"), **extra: int
) -> DiTConfig:
    """Two blocks of width 32; `extra` modalities with their channels come last."""
    return DiTConfig({**CHANNELS, **extra}, 32, 2, 48, 16, attention, plucker, prope)


def tiny_model() -> ModelConfig:
    """A model of images of 16 pixels."""
    return ModelConfig("tiny test", 16, 3, PixelCodec(BLOCK), network=tiny_config())


N = TypeVar("N", bound=nn.Module)


def awake(network: N, std: float = 0.2) -> N:
    """The network with normal numbers in all its weights, also those that start at 0."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=std)
    return network.requires_grad_(False)


def posed(batch: int, frames: int, hw: tuple[int, int] = (16, 16)) -> Conditioning:
    """Cameras of random places, fields of view and times that look at the origin from about one unit away."""
    eyes = torch.nn.functional.normalize(torch.randn(batch, frames, 3), dim=-1) * (
        0.7 + 0.6 * torch.rand(batch, frames, 1)
    )
    cameras = Cameras.from_fov(look_at(eyes, torch.zeros(3)), 40 + 20 * torch.rand(batch, frames), hw)
    return Conditioning.of(Cameras(cameras.world_from_camera, cameras.K, hw, time_s=torch.rand(batch, frames)))


def shown(batch: int, frames: int, hw: tuple[int, int] = (4, 4)) -> tuple[Tensor, Tensor]:
    """Random latent frames and levels."""
    return torch.randn(batch, frames, sum(CHANNELS.values()), *hw), torch.rand(batch, frames, len(CHANNELS))
