"""What `MultiViewUNet` computes once of its inputs: frames and what is known of them, rays, neighbors."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geometry.camera.rays import plucker
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.attention import Positions, Text, token_positions
from worldgen.models.network.masks import frame_mask, token_mask
from worldgen.models.network.unet.config import PARTS, UNetConfig
from worldgen.models.network.unet.layers import neighbors_in_time
from worldgen.models.network.unet.lookup import FrameRays, Sources
from worldgen.models.network.unet.matching import Prior

_GIVEN = 0.05  # frames whose colors are at most at this level are looked up in
DATA_STD = 0.5  # of the units a network is given
_CHANNELS = torch.tensor([3, 1])  # of colors and depth
_LEFT = (0.1, 0.05)  # typical errors of colors and inverse depth that are not the frame's own
_NOISE, _SURE = 0.9, 20.0  # the level from which a frame is noise alone, and the largest logit


@as_value
@dataclass(frozen=True)
class FrameInputs:
    """Frames as the network reads them.

    held    [b, f, 4, h, w] signals, the less of them the more noise there is; nothing at level 1
    coarse  [b, f, 4, h, w] the coarse clip enlarged; zeros where there is none
    there   [b, f, 1, h, w] whether there is one
    given   [b, f, 2, h, w] whether the frame's colors, and its depth, are given
    level   [b, f, 2]
    """

    held: Float[Tensor, "b f 4 h w"]
    coarse: Float[Tensor, "b f 4 h w"]
    there: Float[Tensor, "b f 1 h w"]
    given: Float[Tensor, "b f 2 h w"]
    level: Float[Tensor, "b f 2"]

    @staticmethod
    def of(x: Float[Tensor, "b f 4 h w"], level: Float[Tensor, "b f 2"], conditioning: Conditioning) -> "FrameInputs":
        """Of frames at levels."""
        b, f, _, h, w = x.shape
        kept = torch.cat([level[..., :1].expand(b, f, 3), level[..., 1:]], -1)[..., None, None]
        held = DATA_STD * x * (1 - kept)
        coarse, there = torch.zeros_like(x), torch.zeros_like(x[:, :, :1])
        if conditioning.coarse is not None:
            coarse = conditioning.coarse
            if coarse.shape[-2:] != (h, w):
                mode = "bicubic" if coarse.shape[-1] < w else "area"
                coarse = F.interpolate(coarse.flatten(0, 1), (h, w), mode=mode).unflatten(0, (b, f))
            there = (~coarse[:, :, :1].isnan()).to(x)
            coarse = torch.where(there > 0, coarse, 0.0)
        given = (level <= _GIVEN).to(x)[..., None, None].expand(b, f, 2, h, w)
        return FrameInputs(held, coarse, there, given, level)

    @property
    def unbiased(self) -> Float[Tensor, "b f 4 h w"]:
        """The frames' own signals with their noise (of `Flow`), which has the spread level / (1 - level)."""
        clean, level = _levels_left(self.level)
        spread = ((DATA_STD * clean).square() + level.square()).sqrt()
        return self.held * (spread / DATA_STD / clean.square()).repeat_interleave(
            _CHANNELS.to(level.device), 2, output_size=4
        )

    @property
    def held_inverse(self) -> Float[Tensor, "b f 1 h w"]:
        """Inverse depth of the frames' own, noised signal."""
        return self.unbiased[:, :, 3:] + 1

    @property
    def trust(self) -> Float[Tensor, "b f 2 1 1"]:
        """The logit by which the frames' own colors and depth count before anything is learned: that of the share of
        their variance among it and what is left to find otherwise. Nothing where they are mostly noise."""
        clean, level = _levels_left(self.level)
        left = level.new_tensor(_LEFT)[:, None, None]
        logit = 2 * (left * clean / level.clamp_min(1e-6)).log()
        return torch.where(level < _NOISE, logit.clamp(-_SURE, _SURE), -1e4)

    def stacked(self) -> Float[Tensor, "b f 12 h w"]:
        """All as channels of one image."""
        return torch.cat([self.held, self.coarse, self.there, self.given, 1 - self.given[:, :, :1]], 2)

    def colors(self) -> Float[Tensor, "b f 3 h w"]:
        """Of the given frames."""
        return self.held[:, :, :3]

    def with_colors(self, features: Float[Tensor, "n c h w"], size: int) -> Float[Tensor, "b f d h w"]:
        """Features of the frames, and their colors at 1/size of the resolution."""
        small = F.avg_pool2d(self.colors().flatten(0, 1), size)
        return torch.cat([features, small], 1).unflatten(0, self.held.shape[:2])

    def depth_at(self, size: int) -> Prior:
        """What is known of every frame's depth beforehand, at 1/size: given, or the coarse clip's."""
        given = self.given[:, :, 1:]
        inverse = torch.where(given > 0, self.held_inverse, self.coarse[:, :, 3:] + 1)
        known = torch.maximum(given, self.there)
        inverse = torch.where(known > 0, inverse, 1.0)
        pooled = (F.avg_pool2d(part.flatten(0, 1), size).unflatten(0, given.shape[:2]) for part in (inverse, known))
        return Prior(*pooled)


def _levels_left(level: Float[Tensor, "b f 2"]) -> tuple[Float[Tensor, "b f 2 1 1"], Float[Tensor, "b f 2 1 1"]]:
    """How much signal is left (never nothing, to divide by), and the levels."""
    level = level[..., None, None]
    return (1 - level).clamp_min(1 - _NOISE), level


@as_value
@dataclass(frozen=True)
class Scene:
    """Where the frames are.

    rays        of all frames in their sources, by the resolution's divisor: 1, 2 and 4
    apart_s     [b, k, f] seconds from each source to each frame
    directions  [b, f, 6, h/4, w/4] Plücker rays; zeros where cameras are unknown
    neighbors   [b, 2, f, f] frames before and after each (`neighbors_in_time`)
    positions, mask, text  of the attention across views
    """

    rays: Mapping[int, FrameRays]
    apart_s: Float[Tensor, "b k f"]
    directions: Float[Tensor, "b f 6 y x"]
    neighbors: Float[Tensor, "b 2 f f"]
    positions: Positions
    mask: Bool[Tensor, "b 1 query key"] | None
    text: Text | None

    @staticmethod
    def of(conditioning: Conditioning, inputs: FrameInputs, hw: tuple[int, int], config: UNetConfig) -> "Scene":
        """Of clips whose frames have h x w pixels. In float32: poses need their digits."""
        cameras = conditioning.cameras
        with torch.autocast(cameras.K.device.type, enabled=False):
            cameras = cameras.resized(hw)
            known = conditioning.cameras_known
            earlier = frame_mask("full", conditioning, conditioning, 0)
            b, f = cameras.shape
            allowed = known[:, None, None].expand(b, f, f)
            allowed = allowed if earlier is None else allowed & earlier
            colors_given = inputs.given[:, :, 0, 0, 0] > 0
            sources = Sources.of(colors_given, allowed, config.sources)
            left_out = {size for part in config.without for size in PARTS[part]}
            rays = {
                size: FrameRays.of(cameras, sources.closed() if size in left_out else sources, _divided(hw, size))
                for size in (1, 2, 4)
            }
            time = cameras.time_s
            apart = time[:, None] - sources.of_frames(time)[..., None]
            quarter, last = _divided(hw, 4), _divided(hw, 16)
            directions = plucker(cameras.resized(quarter)) * known[:, None, None, None, None]
            positions = token_positions(conditioning, last, config.width // config.heads, True)
            no_rays = torch.zeros(b, f, last[0] * last[1], 6, device=cameras.K.device)
            mask = token_mask("full", conditioning, conditioning, (no_rays, no_rays), time, 0, 1.0)
            neighbors = neighbors_in_time(cameras, conditioning.order)
        words, padding = conditioning.text, conditioning.text_mask
        text = None if words is None or padding is None else (words, padding)
        return Scene(rays, apart, directions, neighbors, positions, mask, text)


def _divided(hw: tuple[int, int], size: int) -> tuple[int, int]:
    return hw[0] // size, hw[1] // size
