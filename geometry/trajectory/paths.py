"""Camera paths, and the point a set of cameras looks at."""

import math

import torch

from geometry.errors import InputError
from geometry.rotation.transforms import look_at
from geometry.shapes import Float


def orbit(
    pivot: Float[torch.Tensor, "3"],
    radius: float,
    elevation_deg: float,
    frames: int,
    start_azimuth_deg: float = 0.0,
    arc_deg: float = 360.0,
) -> Float[torch.Tensor, "f 4 4"]:
    """`world_from_camera` of cameras on a circle about the vertical through `pivot`, all looking at it.

    radius         distance to the pivot in metres
    elevation_deg  height of the camera above the pivot's horizon, degrees in (-90, 90)
    arc_deg        the angle swept, counter-clockwise seen from above; 360 does not repeat the first frame

    Frame 0 is at `start_azimuth_deg` (0 = on the +x side of the pivot).
    Raises InputError for a radius that is not positive, no frames, or an elevation at a pole or beyond.
    """
    if frames < 1:
        raise InputError(f"orbit of {frames} frames; expected at least 1")
    if not (radius > 0 and math.isfinite(radius)):
        raise InputError(f"orbit of radius {radius}; expected more than 0 metres")
    if not -90 < elevation_deg < 90:
        raise InputError(f"orbit at elevation {elevation_deg} degrees; expected more than -90 and less than 90")
    steps = frames if abs(arc_deg) >= 360 else max(frames - 1, 1)
    index = torch.arange(frames, dtype=torch.float64, device=pivot.device)
    azimuth = torch.deg2rad(start_azimuth_deg + index * (arc_deg / steps))
    elevation = math.radians(elevation_deg)
    offset = torch.stack(
        [
            azimuth.cos() * math.cos(elevation),
            azimuth.sin() * math.cos(elevation),
            torch.full_like(azimuth, math.sin(elevation)),
        ],
        -1,
    )
    center = pivot.to(torch.float64)
    return look_at(center + radius * offset, center.expand_as(offset)).to(pivot.dtype)


def nearest_point_to_axes(
    world_from_camera: Float[torch.Tensor, "*b n 4 4"],
    guess: Float[torch.Tensor, "*b 3"] | None = None,
    guess_weight: Float[torch.Tensor, "*b"] | None = None,
) -> Float[torch.Tensor, "*b 3"]:
    """The world point whose mean squared distance to n optical axes is least: what the cameras look at.

    Solves sum_i (I - a_i a_i^T)(p - o_i) + n guess_weight (p - guess) = 0. The weight is in squared radians: axes
    that differ in direction by much more than its root decide alone, nearly parallel ones (which say nothing about
    the distance) leave it to the guess. Without both, the solution for parallel axes is the one nearest the mean
    center, and for nearly parallel ones anything.

    Raises InputError for fewer than two cameras.
    """
    count = world_from_camera.shape[-3]
    if count < 2:
        raise InputError(f"nearest point to the axes of {count} camera; expected at least 2")
    pose = world_from_camera.to(torch.float64)
    centers, axes = pose[..., :3, 3], pose[..., :3, 2]
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
    reject = identity - axes[..., :, None] * axes[..., None, :]
    mean = centers.mean(-2)
    left = reject.mean(-3)
    right = torch.einsum("...nij,...nj->...i", reject, centers - mean[..., None, :]) / count
    if guess is not None and guess_weight is not None:
        left = left + guess_weight.to(pose.dtype)[..., None, None] * identity
        right = right + guess_weight.to(pose.dtype)[..., None] * (guess.to(pose.dtype) - mean)
    offset = torch.linalg.pinv(left, rtol=1e-6, hermitian=True) @ right[..., None]
    return (mean + offset.squeeze(-1)).to(world_from_camera.dtype)
