"""Checks of arguments: images, depth and cameras that fit together."""

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError


def check_frames(what: str, rgb: torch.Tensor, depth: torch.Tensor, cameras: Cameras) -> None:
    """Raises InputError unless rgb [f, 3, h, w], depth [f, 1, h, w] and cameras [f] of size (h, w) fit together.

    Colors have to be finite floats.
    """
    frames, hw = len(rgb), tuple(rgb.shape[-2:])
    if depth.shape != (frames, 1, *hw) or rgb.shape[1] != 3 or cameras.shape != (frames,) or cameras.hw != hw:
        raise InputError(
            f"{what}: rgb {tuple(rgb.shape)}, depth {tuple(depth.shape)}, cameras {tuple(cameras.shape)} of size "
            f"{cameras.hw}; expected [f, 3, h, w], [f, 1, h, w] and [f] of size (h, w)"
        )
    check_colors(what, rgb)


def check_colors(what: str, rgb: torch.Tensor) -> None:
    """Raises InputError unless colors are finite floats, in any range: light may be brighter than 1."""
    if not rgb.is_floating_point():
        raise InputError(f"{what}: rgb of {rgb.dtype}; expected floats in 0..1")
    if rgb.numel() and not all(bound.isfinite() for bound in rgb.detach().aminmax()):
        raise InputError(f"{what}: rgb with NaN or Inf; expected 0..1")


def single_camera(camera: Cameras) -> Cameras:
    """A camera of batch shape [] or [1] as one of []. Raises InputError for others."""
    if camera.shape not in ((), (1,)):
        raise InputError(f"warp into cameras of batch shape {tuple(camera.shape)}; expected a single camera")
    return camera[0] if camera.shape else camera
