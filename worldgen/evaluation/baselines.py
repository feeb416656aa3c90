"""Baselines that need no learning: the predictions a model has to beat, given the same known frames.

A blind baseline is a function of the known frames, a clip [b, k], and the targets' cameras [b, t]: it moves no pixel
to its place in the new image. An oracle takes the targets as a clip and may use true depth, which no model is given. It
assumes a still world: where things move between the frames' times, their pixels land where they were.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.warping import backward_visible, backward_warp, fill_nearest, forward_warp
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.view_distance import nearest_camera, squared_distances

ORACLE, BACKWARD_ORACLE = "forward warp (oracle)", "backward warp (oracle)"


class Views(NamedTuple):
    """Images [b, t, 3, h, w] of the targets, and what a baseline knows of them besides.

    depth      [b, t, 1, h, w]
    looked_up  [b, t, 1, h, w] in 0..1, the share of each color that comes from a look-up in the known images
    """

    rgb: Tensor
    depth: Tensor | None = None
    looked_up: Tensor | None = None


Blind = Callable[[Clip, Cameras], Tensor]  # -> rgb [b, t, 3, h, w]
Oracle = Callable[[Clip, Clip], Views]


def mean_color(known: Clip, targets: Cameras) -> Float[Tensor, "b t 3 h w"]:
    """One color: the mean of all pixels of the known frames (of sRGB values, which minimizes the squared error)."""
    return known.rgb.mean((-4, -2, -1), keepdim=True).expand(*targets.shape, 3, *targets.hw)


def row_mean(known: Clip, targets: Cameras) -> Float[Tensor, "b t 3 h w"]:
    """Each row of pixels in the mean color of that row in the known frames: what a horizon alone explains."""
    return known.rgb.mean((-4, -1), keepdim=True).expand(*targets.shape, 3, *targets.hw)


def copy_nearest(known: Clip, targets: Cameras) -> Float[Tensor, "b t 3 h w"]:
    """The known image whose camera is nearest (`nearest_camera`), as it is."""
    clips = torch.arange(len(known.rgb), device=known.rgb.device)
    nearest = [nearest_camera(targets[:, t], known.cameras) for t in range(targets.shape[1])]
    return torch.stack([known.rgb[clips, index] for index in nearest], 1)


def forward_warp_oracle(known: Clip, targets: Clip) -> Views:
    """The known pixels moved by their true depth into the new camera; holes take the nearest pixel's color, or the
    known images' mean where the new one shows nothing of them."""

    def warp(frames: Clip, camera: Cameras) -> Tensor:
        rgb, _, visible = forward_warp(frames.rgb, frames.depth, frames.cameras, camera)
        return _filled(rgb, visible, frames)

    return _views(lambda b, t: warp(known[b], targets.cameras[b, t]), targets.cameras)


def backward_warp_oracle(known: Clip, targets: Clip) -> Views:
    """The known images sampled at the surfaces given by the new image's true depth (`backward_warp`).

    A pixel takes its color from the nearest camera it is visible to; where there is none, from the nearest pixel that
    has one. It knows the new view's depth too, so it is the stronger oracle: what is left is shading, resampling and
    the unseen.
    """
    distances = torch.stack(
        [squared_distances(targets.cameras[:, t], known.cameras) for t in range(targets.cameras.shape[1])], 1
    )

    def warp(b: int, t: int) -> Tensor:
        frames = known[b]
        rgb, visible, _ = backward_warp(
            frames.rgb, targets.depth[b, t], targets.cameras[b, t], frames.depth, frames.cameras
        )
        source = torch.where(visible, distances[b, t][:, None, None], torch.inf).argmin(0)
        picked = rgb.gather(0, source.expand(1, 3, *source.shape))[0].clamp(0, 1)
        return _filled(picked, visible.any(0, keepdim=True), frames)

    return _views(warp, targets.cameras)


BLIND: dict[str, Blind] = {"mean color": mean_color, "row mean": row_mean, "copy nearest": copy_nearest}
ORACLES: dict[str, Oracle] = {ORACLE: forward_warp_oracle, BACKWARD_ORACLE: backward_warp_oracle}


def constant_depth(known: Clip, count: int) -> Float[Tensor, "b n 1 h w"]:
    """`count` depth maps a clip of one constant: the median of the known frames' true finite depth, in metres.

    More than a model has: it is given no depth at all.
    """
    finite = torch.where((known.depth > 0) & known.depth.isfinite(), known.depth, math.nan)
    median = finite.flatten(1).nanmedian(-1).values
    return median[:, None, None, None, None].expand(-1, count, 1, *known.depth.shape[-2:])


def row_depth(known: Clip, count: int) -> Float[Tensor, "b n 1 h w"]:
    """`count` depth maps a clip, each row the median true depth of that row in the known frames, sky included.

    On a ground plane seen from the side this is hard to beat without looking at the image.
    """
    rows = known.depth.movedim(-2, 1).flatten(2).median(-1).values
    return rows[:, None, None, :, None].expand(-1, count, 1, -1, known.depth.shape[-1])


def seen(known: Clip, targets: Clip) -> Bool[Tensor, "b t 1 h w"]:
    """Which pixels of the targets [b, t] show something that is visible in some known frame [b, k] too, by true depth.

    Both times are taken for one: a thing that has moved in between counts as unseen.
    """

    def one(b: int, t: int) -> Tensor:
        camera, frames = targets.cameras[b, t], known[b]
        return backward_visible(targets.depth[b, t], camera, frames.depth, frames.cameras).any(0, keepdim=True)

    return _each(one, targets.cameras)


def _filled(rgb: Tensor, visible: Tensor, frames: Clip) -> Tensor:
    """Colors without holes, and in a fourth channel where there were none."""
    if bool(visible.any()):
        filled = fill_nearest(rgb, visible)
    else:
        filled = frames.rgb.mean((0, 2, 3))[:, None, None].expand_as(rgb)
    return torch.cat([filled, visible.to(filled)])


def _views(warp: Callable[[int, int], Tensor], targets: Cameras) -> Views:
    channels = _each(warp, targets)
    return Views(channels[:, :, :3], looked_up=channels[:, :, 3:])


def _each(function: Callable[[int, int], Tensor], targets: Cameras) -> Tensor:
    """One tensor of every clip b's target t, stacked [b, t, ...]."""
    clips, count = targets.shape
    return torch.stack([torch.stack([function(b, t) for t in range(count)]) for b in range(clips)])
