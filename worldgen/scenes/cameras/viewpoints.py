"""Cameras on rings about a table, looking at its middle."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from geometry.shapes import Float
from worldgen.runtime.rng import Stream, stream

NUMBERS = 8  # uniform numbers that a ring takes per scene, and per frame


def ring(
    per_scene: Float[Tensor, "b 8"], per_frame: Float[Tensor, "b f 8"], spread_deg: Float[Tensor, "b"],
    hw: tuple[int, int],
) -> Cameras:  # fmt: skip
    """Cameras on a ring about the table, looking at a point near its middle.

    Args:
        per_scene: [b, 8] uniform numbers: radius U(2.6, 4.0) m, elevation U(10, 45) degrees, field of view U(45, 60)
            degrees, azimuth of the arc's middle; the rest is not used.
        per_frame: [b, f, 8] uniform numbers: azimuth within the arc, radius +-8%, elevation +-4 degrees, the point
            looked at +-0.12 m; the rest is not used.
        spread_deg: [b] half the arc's angle, degrees; 180 is the full circle.
        hw: Height and width in pixels.

    Returns:
        Cameras of batch shape [b, f], at time 0.
    """
    radius = (2.6 + 1.4 * per_scene[:, None, 0]) * (0.92 + 0.16 * per_frame[..., 1])
    elevation = torch.deg2rad(10 + 35 * per_scene[:, None, 1] + 8 * (per_frame[..., 2] - 0.5))
    fov_deg = 45 + 15 * per_scene[:, 2]
    middle = 2 * math.pi * per_scene[:, None, 3]
    azimuth = middle + torch.deg2rad(spread_deg)[:, None] * (2 * per_frame[..., 0] - 1)
    target = torch.tensor([0.0, 0.0, 0.25]) + 0.24 * (per_frame[..., 3:6] - 0.5)
    away = torch.stack([azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], -1)
    pose = look_at(target + radius[..., None] * away, target)
    return Cameras.from_fov(pose, fov_deg[:, None].expand(pose.shape[:2]), hw)


def arcs(
    seed: int, numbers: Sequence[int], frames: int, spreads_deg: Sequence[Sequence[float]], hw: tuple[int, int]
) -> Cameras:
    """Cameras for training on arcs of a `ring`, in order along the arc; a function of (seed, number) for each scene.

    Args:
        seed: Of the series of scenes.
        numbers: The scenes' numbers in it.
        frames: f, the cameras of each scene.
        spreads_deg: Pairs [low, high]: one is drawn for each scene, then half the arc's angle between its ends.
        hw: Height and width in pixels.

    Returns:
        Cameras of batch shape [b, f], at time 0.
    """
    per_scene, per_frame, spread = [], [], []
    for number in numbers:
        draw = stream(Stream.TRAINING, seed, number, 0, 3)
        low, high = spreads_deg[int(draw.integers(len(spreads_deg)))]
        spread.append(low + (high - low) * draw.random())
        per_scene.append(draw.random(NUMBERS))
        drawn = draw.random((frames, NUMBERS))
        per_frame.append(drawn[np.argsort(drawn[:, 0])])
    by_scene, by_frame, spreads = (torch.from_numpy(np.array(u)).float() for u in (per_scene, per_frame, spread))
    return ring(by_scene, by_frame, spreads, hw)
