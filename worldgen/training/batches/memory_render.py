"""Memory renders for training: what a 3D memory, with the errors of real ones, shows from a clip's cameras."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.warping import forward_warp
from geometry.rotation.transforms import rigid, rotation_about
from worldgen.core.clip import Clip


def render_memory(
    footage: Clip, frames: Tensor, other: Clip, draw: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [f, 3, h, w], z-depth and visibility [f, 1, h, w] of a memory from the frames of one clip [views].

    The memory is one to three of the views, lifted by their depth, with

    misregistration  the depth of each is off by about 2%, its camera by about 1% of the depth and half a degree
    imagined parts   half the memories hold a rectangle of the image `other` in each of their views
    holes            a third of the views miss a rectangle; what no view saw is a hole anyway

    Moving things are where they were in those views. frames [f] are numbers of the clip's views.
    """
    views = len(footage)
    sources = draw.permutation(views)[: int(draw.integers(1, min(3, views) + 1))]
    rgb, depth = footage.rgb[sources].clone(), footage.depth[sources].clone()
    imagined = draw.random() < 0.5
    for n in range(len(sources)):
        if imagined:
            rows, columns = _rectangle(footage.cameras.hw, draw)
            rgb[n, :, rows, columns] = other.rgb[0, :, rows, columns]
            depth[n, :, rows, columns] = other.depth[0, :, rows, columns]
        if draw.random() < 1 / 3:
            rows, columns = _rectangle(footage.cameras.hw, draw)
            depth[n, :, rows, columns] = 0
    off = torch.from_numpy(np.exp(draw.normal(0, 0.02, len(sources)))).to(depth)[:, None, None, None]
    known = depth[depth.isfinite() & (depth > 0)]
    typical = float(known.median()) if known.numel() else 1.0
    cameras = _shaken(footage.cameras[torch.from_numpy(sources)], 0.01 * typical, draw)
    shown = [forward_warp(rgb, depth * off, cameras, footage.cameras[int(frame)]) for frame in frames]
    color, far, visible = (torch.stack(part) for part in zip(*shown))
    return color, far, visible.to(color)


def _rectangle(hw: tuple[int, int], draw: np.random.Generator) -> tuple[slice, slice]:
    """A window of a fifth to a half of the image's sides."""
    sides = [int(side * draw.uniform(0.2, 0.5)) for side in hw]
    corner = [int(draw.integers(0, side - length + 1)) for side, length in zip(hw, sides)]
    rows, columns = (slice(start, start + length) for start, length in zip(corner, sides))
    return rows, columns


def _shaken(cameras: Cameras, metres: float, draw: np.random.Generator) -> Cameras:
    """Cameras [n] moved by about `metres` and turned by about half a degree, each in its own frame."""
    pose, count = cameras.world_from_camera, len(cameras)
    numbers = draw.normal(size=(count, 3)), draw.normal(0, np.radians(0.5), count), draw.normal(0, metres, (count, 3))
    axis, angle, shift = (torch.from_numpy(x).to(pose) for x in numbers)
    return replace(cameras, world_from_camera=pose @ rigid(rotation_about(axis, angle), shift))
