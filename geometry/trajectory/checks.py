"""Cameras in words, and a search for what is likely to be wrong with them."""

import math

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_rigid
from geometry.camera.rays import fov_deg
from geometry.errors import InputError
from geometry.trajectory.paths import nearest_point_to_axes


def describe(cameras: Cameras) -> str:
    """Cameras in words: where each is, where its axes point in the world, and its fields of view.

    Angles are azimuth counter-clockwise from the world's +x as seen from above, pitch above the horizon, and roll
    clockwise.

    Args:
        cameras: Cameras of any batch shape.

    Returns:
        A line with their number and size, then one per camera.
    """
    flat = cameras.reshape(-1)
    angles = fov_deg(flat)
    lines = [f"{len(flat)} cameras of {cameras.hw[1]}x{cameras.hw[0]} pixels, z up, metres"]
    for n, pose in enumerate(flat.world_from_camera.detach().double()):
        right, down, forward = pose[:3, :3].unbind(-1)
        pitch = math.degrees(math.asin(max(-1.0, min(1.0, float(forward[2])))))
        azimuth = math.degrees(math.atan2(float(forward[1]), float(forward[0])))
        roll = math.degrees(math.atan2(-float(right[2]), -float(down[2])))
        tilt = "level" if abs(pitch) < 0.5 else f"{abs(pitch):.0f} degrees {'up' if pitch > 0 else 'down'}"
        lines.append(
            f"{n}: at {_vector(pose[:3, 3])}, right {_vector(right)}, up {_vector(-down)}, forward {_vector(forward)}: "
            f"azimuth {azimuth:.0f} degrees, {tilt}, roll {round(roll) + 0}; sees {float(angles[n, 0]):.0f} x "
            f"{float(angles[n, 1]):.0f} degrees"
        )
    return "\n".join(lines)


def lint(cameras: Cameras) -> list[str]:
    """What is likely to be wrong with cameras.

    Certain: NaN or Inf, mirrors, axes that are not orthogonal, focal lengths of 0 or less. Likely: focal lengths scaled
    by the wrong side (their ratio is the image's), principal points half a pixel off, poses that are the inverse of
    what is meant (the inverses look at a common point, these do not), and OpenGL's axes taken for OpenCV's (the point
    they all look at lies behind them, and they are upside down).

    Args:
        cameras: Cameras of any batch shape.

    Returns:
        Findings, most serious first; an empty list if nothing was found.
    """
    flat = cameras.reshape(-1)
    try:
        check_rigid(flat.world_from_camera, "world_from_camera")
        rigid = True
        found = []
    except InputError as error:
        rigid, found = False, [str(error)]
    K, (height, width) = flat.K.double(), cameras.hw
    fx, fy, cx, cy = K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]
    if not bool(K.isfinite().all()) or bool((torch.minimum(fx, fy) <= 0).any()):
        return [*found, "intrinsics: focal lengths that are not positive numbers"]
    ratio = (fx / fy).median()
    if abs(math.log(height / width)) > 0.05 and abs(float(ratio.log()) - math.log(height / width)) < 0.02:
        found.append(
            f"fx / fy is {float(ratio):.3f}, the image's height / width: focal lengths scaled by the other side?"
        )
    off_x, off_y = cx - width / 2, cy - height / 2
    if bool((off_x.abs() > width / 2).any()) or bool((off_y.abs() > height / 2).any()):
        found.append("principal points outside the image: are they of another size, or of normalized coordinates?")
    if float((off_x + 0.5).abs().max()) < 0.02 and float((off_y + 0.5).abs().max()) < 0.02:
        found.append(
            "principal points at (width - 1) / 2, (height - 1) / 2: pixel centers at whole numbers? Ours are at +0.5"
        )
    return found + (_poses(flat) if rigid and len(flat) >= 3 else [])


def _poses(cameras: Cameras) -> list[str]:
    """What is likely to be wrong with the poses, by the positions and directions of all cameras."""
    poses = cameras.world_from_camera.double()
    spread = float((poses[:, :3, 3] - poses[:, :3, 3].mean(0)).norm(dim=-1).max())
    if spread < 1e-9:
        return []
    miss, ahead = _convergence(poses)
    inverse_miss, inverse_ahead = _convergence(torch.linalg.inv(poses))
    if inverse_miss < 0.1 and inverse_ahead > 0.9 and (miss > 3 * inverse_miss or ahead < 0.1):
        return ["the inverse poses look at a common point and these do not: camera_from_world for world_from_camera?"]
    # Cameras that look outwards have what they share behind them too, but stand upright.
    upside_down = float((poses[:, 2, 1] > 0).double().mean()) > 0.5
    if miss < 0.1 and ahead < 0.1 and upside_down:
        return ["what all cameras have in common lies behind them: OpenGL axes (looking along -z) for OpenCV's?"]
    return []


def _convergence(poses: torch.Tensor) -> tuple[float, float]:
    """How far the optical axes miss the point nearest to all of them, and the share of cameras that have it ahead.

    The miss is a share of the point's distance, the median over cameras.
    """
    point = nearest_point_to_axes(poses)
    towards = point - poses[:, :3, 3]
    along = (towards * poses[:, :3, 2]).sum(-1)
    beside = (towards - along[:, None] * poses[:, :3, 2]).norm(dim=-1)
    return float((beside / towards.norm(dim=-1).clamp_min(1e-12)).median()), float((along > 0).double().mean())


def _vector(v: torch.Tensor) -> str:
    return "(" + ", ".join(f"{round(float(x), 2) + 0.0:.2f}" for x in v) + ")"  # + 0.0: no minus before zero
