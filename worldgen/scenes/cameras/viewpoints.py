"""Camera distributions for scenes that are looked at from outside."""

import math

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at

NUMBERS = 8  # uniform numbers a ring takes per scene, and per frame


def ring(per_scene: Tensor, per_frame: Tensor, spread_deg: Tensor, hw: tuple[int, int]) -> Cameras:
    """Cameras [b, f] on a ring about the table, looking at a point near its middle.

    per_scene   [b, 8] uniform numbers: radius U(2.6, 4.0) m, elevation U(10, 45) degrees, field of view U(45, 60)
                degrees, azimuth of the arc's middle
    per_frame   [b, f, 8] uniform numbers: azimuth within the arc, radius +-8%, elevation +-4 degrees, the point looked
                at +-0.12 m
    spread_deg  [b] half the arc's angle; 180 is the full circle
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
