"""What cameras have to be before another tool, or another function, can take them."""

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float

_OFF_CENTER = 1e-3  # of the focal length: how far a centered principal point may be off the image's middle
_TOLERANCE = 1e-3  # of a rotation's orthogonality: float32 poses of long chains are off by less


def check_rigid(pose: Float[torch.Tensor, "*b 4 4"], what: str) -> None:
    """Raises InputError for poses that are not rigid motions, saying which one and what is wrong with it."""
    flat = pose.reshape(-1, 4, 4).detach().double()
    rotation = flat[:, :3, :3]
    identity = torch.eye(3, dtype=flat.dtype, device=flat.device)
    last = flat.new_tensor([0.0, 0.0, 0.0, 1.0])
    for wrong, message in (
        (~flat.isfinite().flatten(1).all(1), "NaN or Inf; expected finite numbers"),
        ((flat[:, 3] - last).abs().amax(1) > 1e-6, "a last row other than 0 0 0 1 (is it transposed?)"),
        (
            (rotation.transpose(1, 2) @ rotation - identity).abs().amax((1, 2)) > _TOLERANCE,
            "axes that are not of unit length and at right angles (a scale? take it out first)",
        ),
        (torch.linalg.det(rotation) < 0, "a mirror, determinant -1; expected a rotation"),
    ):
        if bool(wrong.any()):
            raise InputError(f"{what}: number {int(wrong.nonzero()[0])} has {message}")


def check_unskewed(what: str, cameras: Cameras) -> None:
    """Raises InputError, naming what needs it, unless all cameras are pinholes without skew."""
    cameras.check_pinhole(what)
    if bool((cameras.K[..., 0, 1] != 0).any()):
        raise InputError(f"{what}: skewed pixels; expected K[0, 1] = 0")


def check_centered(what: str, cameras: Cameras) -> None:
    """Raises InputError, naming what needs it, unless all are centered pinholes without skew."""
    check_unskewed(what, cameras)
    K = cameras.K
    off = torch.stack([K[..., 0, 2] - cameras.hw[1] / 2, K[..., 1, 2] - cameras.hw[0] / 2])
    if bool((off.abs() > _OFF_CENTER * K[..., 0, 0].abs()).any()):
        raise InputError(f"{what}: a principal point off the image's middle; expected (width / 2, height / 2)")


def check_square_pixels(what: str, cameras: Cameras) -> None:
    """Raises InputError, naming what needs it, unless the two focal lengths are the same."""
    fx, fy = cameras.K[..., 0, 0], cameras.K[..., 1, 1]
    if bool(((fx - fy).abs() > _OFF_CENTER * fx.abs()).any()):
        raise InputError(f"{what}: pixels that are not square; expected one focal length")
