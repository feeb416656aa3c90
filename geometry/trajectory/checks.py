"""Cameras in words, and a search for what is likely to be wrong with them."""

import math
from collections.abc import Sequence

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_rigid
from geometry.camera.rays import fov_deg
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.trajectory.misreadings import misreadings


def describe(cameras: Cameras, every: int = 1) -> str:
    """Cameras in words: where each is, where its axes point in the world, and its fields of view.

    Angles are azimuth counter-clockwise from the world's +x as seen from above, pitch above the horizon, and roll
    clockwise.

    Args:
        cameras: Cameras of any batch shape.
        every: Describe every Nth of them.

    Returns:
        A line with their number and size, then one per camera that is described.

    Raises:
        InputError: If `every` is less than 1.
    """
    if every < 1:
        raise InputError(f"every {every}th camera; expected 1 or more")
    flat = cameras.reshape(-1)
    angles = fov_deg(flat)
    lines = [f"{len(flat)} cameras of {cameras.hw[1]}x{cameras.hw[0]} pixels, z up, metres"]
    for n, pose in list(enumerate(flat.world_from_camera.detach().double()))[::every]:
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


def lint(cameras: Cameras | Sequence[Cameras]) -> list[str]:
    """What is likely to be wrong with cameras.

    Certain: NaN or Inf, mirrors, axes that are not orthogonal, focal lengths of 0 or less, times that run back, and
    coordinates so large that float32 cannot tell the cameras apart. Likely: focal lengths scaled by the wrong side
    (their ratio is the image's), principal points half a pixel off, and poses read by another convention than they were
    written in (`geometry.trajectory.misreadings`): inverted, with OpenGL's or LLFF's axes, or with the parts of
    quaternions in another order.

    Args:
        cameras: Cameras of any batch shape, or several such for images of several sizes.

    Returns:
        Findings, most serious first; an empty list if nothing was found.
    """
    parts = [part.reshape(-1) for part in ([cameras] if isinstance(cameras, Cameras) else cameras)]
    poses = torch.cat([part.world_from_camera for part in parts])
    try:
        check_rigid(poses, "world_from_camera")
        rigid, found = True, []
    except InputError as error:
        rigid, found = False, [str(error)]
    found += dict.fromkeys(finding for part in parts for finding in _intrinsics(part))
    view, time_s = torch.cat([part.view for part in parts]), torch.cat([part.time_s for part in parts]).double()
    if any(text.startswith("intrinsics") for text in found):
        return found
    if rigid and len(poses) > 1:
        found += _large(poses.double())
        found += misreadings(poses, one_camera=len(view.unique()) == 1)
    return found + (
        [] if _in_order(view, time_s) else ["times run back: frames in another order, or two clips in one?"]
    )


def _intrinsics(cameras: Cameras) -> list[str]:
    """What is likely to be wrong with the intrinsics of cameras of one size."""
    found: list[str] = []
    K, (height, width) = cameras.K.double(), cameras.hw
    fx, fy, cx, cy = K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]
    if not bool(K.isfinite().all()) or bool((torch.minimum(fx, fy) <= 0).any()):
        return ["intrinsics: focal lengths that are not positive numbers"]
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
    return found


def _large(poses: Float[torch.Tensor, "n 4 4"]) -> list[str]:
    """Whether float32 cannot hold the distances between neighbors, as with cameras in UTM."""
    if float32_holds(poses[:, :3, 3]):
        return []
    largest = float(poses[:, :3, 3].abs().max())
    return [
        f"coordinates up to {largest:.3g}, in which float32 cannot tell the cameras apart: subtract an origin first "
        "(pipelines do)"
    ]


def float32_holds(centers: Float[torch.Tensor, "n 3"]) -> bool:
    """Whether float32 holds the distances between neighbors in a row of points, to a hundredth of their median.

    It does not where cameras are in UTM coordinates, for example: millions of metres, and steps of some decimetres.

    Args:
        centers: the points, in float64.
    """
    step = (centers[1:] - centers[:-1]).double().norm(dim=-1)
    step = step[step > 0]
    largest = float(centers.abs().max()) if len(centers) else 0.0
    typical = float(step.median()) if len(step) else 1.0  # one camera: a metre
    return largest * torch.finfo(torch.float32).eps < 0.01 * typical


def _in_order(view: torch.Tensor, time_s: torch.Tensor) -> bool:
    """Whether the times of each physical camera grow; a collection of photos in any order counts as in order."""
    for one in view.unique():
        step = time_s[view == one].diff()
        back = float((step < 0).double().mean()) if len(step) else 0.0
        if 0 < back <= 0.25 or (back == 1 and len(step) > 1):
            return False
    return True


def _vector(v: torch.Tensor) -> str:
    return "(" + ", ".join(f"{round(float(x), 2) + 0.0:.2f}" for x in v) + ")"  # + 0.0: no minus before zero
