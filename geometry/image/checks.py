"""Checks of arguments: images, depth and cameras that fit together."""

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.coercion import OVERSHOOT, DepthsLike, FramesLike, as_depths, as_frames
from geometry.shapes import Float


def checked_frames(
    what: str, rgb: FramesLike, depth: DepthsLike, cameras: Cameras, beyond: float = OVERSHOOT
) -> tuple[Float[torch.Tensor, "f 3 h w"], Float[torch.Tensor, "f 1 h w"]]:
    """Frames and their depth as tensors (`geometry.image.coercion`) that fit their cameras; float64 stays.

    Args:
        what: What errors begin with.
        rgb: f images.
        depth: Their depth.
        cameras: Their cameras, of batch shape [f].
        beyond: How far colors may reach beyond 0..1 (`as_image`).

    Returns:
        rgb [f, 3, h, w] and depth [f, 1, h, w].

    Raises:
        InputError: As `as_frames` and `as_depths` raise it, and for shapes that do not fit together.
    """
    rgb = as_frames(rgb, f"{what}: rgb", beyond=beyond, double=True)
    depth = as_depths(depth, f"{what}: depth", double=True)
    frames, hw = len(rgb), tuple(rgb.shape[-2:])
    if depth.shape != (frames, 1, *hw) or cameras.shape != (frames,) or cameras.hw != hw:
        raise InputError(
            f"{what}: rgb {tuple(rgb.shape)}, depth {tuple(depth.shape)}, cameras {tuple(cameras.shape)} of size "
            f"{cameras.hw}; expected [f, 3, h, w], [f, 1, h, w] and [f] of size (h, w)"
        )
    return rgb, depth


def single_camera(camera: Cameras) -> Cameras:
    """A camera of batch shape [] or [1] as one of []. Raises InputError for others."""
    if camera.shape not in ((), (1,)):
        raise InputError(f"warp into cameras of batch shape {tuple(camera.shape)}; expected a single camera")
    return camera[0] if camera.shape else camera
