"""A model on frames larger than it makes: the given images are shrunk for it, and what it predicts is enlarged."""

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.shapes import Float
from worldgen.core.clip import LOOKED_UP, Clip
from worldgen.models.config import MULTIPLE_PX
from worldgen.models.world_model import WorldModel


def size_made(model: WorldModel, size_px: int) -> int:
    """The side of the frames that a model makes where those of `size_px` are wanted: that, if it can, else its own.

    The only place that knows which sizes a model can make: its own, or up to `ModelConfig.largest_px`.
    """
    own, largest = model.config.size_px, model.config.largest_px
    return own if largest is None or size_px < own else min(size_px, largest) // MULTIPLE_PX * MULTIPLE_PX


def shrunk(
    rgb: Float[Tensor, "*b c h w"], cameras: Cameras, height_px: int
) -> tuple[Float[Tensor, "*b c h2 w2"], Cameras]:
    """Images and their cameras at another height, each pixel the mean of those it covers; as they are at the same."""
    hw = (height_px, round(height_px * cameras.hw[1] / cameras.hw[0]))
    return (rgb, cameras) if cameras.hw == hw else (_resized(rgb, hw, "area"), cameras.resized(hw))


def enlarged(clip: Clip, cameras: Cameras) -> Clip:
    """Images and depth for the same cameras at another size, bicubic, depth as inverse depth; as they are at the same.

    What was looked up is bilinear, any other map is left out.
    """
    if clip.cameras.hw == cameras.hw:
        return clip
    depth = 1 / _resized(1 / clip.depth, cameras.hw, "bicubic").clamp_min(0)
    others = {name: _resized(map_, cameras.hw, "bilinear") for name, map_ in clip.others.items() if name == LOOKED_UP}
    return Clip(enlarged_rgb(clip.rgb, cameras.hw), depth, cameras, others=others)


def enlarged_rgb(rgb: Float[Tensor, "*b 3 h w"], hw: tuple[int, int]) -> Float[Tensor, "*b 3 h2 w2"]:
    """Images at another size, bicubic; as they are at the same."""
    return rgb if tuple(rgb.shape[-2:]) == hw else _resized(rgb, hw, "bicubic").clamp(0, 1)


def _resized(maps: Tensor, hw: tuple[int, int], mode: str) -> Tensor:
    return torch.nn.functional.interpolate(maps.flatten(0, -4), hw, mode=mode).view(*maps.shape[:-2], *hw)
