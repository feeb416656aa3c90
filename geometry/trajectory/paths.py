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
    """Poses on a circle around the vertical through a pivot, all looking at it.

    Args:
        pivot: The point in the middle [3], metres.
        radius: Distance of the cameras from it in metres.
        elevation_deg: How far the cameras are above the pivot's horizon, in degrees between -90 and 90.
        frames: The number of cameras.
        start_azimuth_deg: Where frame 0 is, in degrees: 0 is on the +x side of the pivot.
        arc_deg: The angle swept, in degrees counter-clockwise as seen from above; 360 does not repeat the first frame.

    Returns:
        `world_from_camera` [f, 4, 4].

    Raises:
        InputError: If there are no frames, the radius is not positive, or the elevation is at a pole or beyond.
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
    """The point that cameras look at: the one with the least mean squared distance to their optical axes.

    Solves sum_i (I - a_i a_i^T)(p - o_i) + n guess_weight (p - guess) = 0. Axes that differ in direction by much more
    than the root of the weight decide alone; nearly parallel axes do not determine the distance, so the guess does.
    Without a guess, parallel axes give the solution nearest to the mean center, and nearly parallel ones an arbitrary
    one.

    Args:
        world_from_camera: Poses of n cameras [*b, n, 4, 4].
        guess: Where the point is likely to be [*b, 3].
        guess_weight: How much the guess counts [*b], in squared radians.

    Returns:
        World points [*b, 3].

    Raises:
        InputError: If there are fewer than two cameras.
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
