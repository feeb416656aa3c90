"""From an image of any size to the square frame of a model's size; intrinsics follow every step."""

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.resampling import undistort
from geometry.image.warping import fill_nearest
from geometry.shapes import Float

DETAIL = 4  # how many times a frame's side is read of an image: more makes no difference in the frame


def undistort_and_fill(rgb: Float[Tensor, "3 h w"], camera: Cameras) -> tuple[Float[Tensor, "3 h w"], Cameras]:
    """The image that a pinhole camera would have taken, and that camera (float32, batch shape []).

    Pixels that the lens did not show are filled from their neighbors (`geometry.undistort`, `geometry.fill_nearest`).
    """
    rgb, pinhole, known = undistort(rgb, camera)
    return fill_nearest(rgb, known), pinhole.to(torch.float32)


def square(
    rgb: Float[Tensor, "3 h w"], camera: Cameras, fit: str, size_px: int
) -> tuple[Float[Tensor, "3 s s"], Cameras]:
    """Center-crop ("crop") or pad by repeating the border ("pad") to a square, then resample (antialiased)."""
    height, width = rgb.shape[-2:]
    side = min(height, width) if fit == "crop" else max(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pad = (max(-left, 0), max(side - width + left, 0), max(-top, 0), max(side - height + top, 0))
    rgb = torch.nn.functional.pad(rgb[None], pad, mode="replicate")[0]
    top, left = top + pad[2], left + pad[0]
    rgb = rgb[:, top : top + side, left : left + side]
    camera = camera.cropped(top - pad[2], left - pad[0], (side, side))
    if side != size_px:
        size = (size_px, size_px)
        rgb = torch.nn.functional.interpolate(rgb[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
        camera = camera.resized(size)
    return rgb, camera


def square_camera(camera: Cameras, fit: str, size_px: int) -> Cameras:
    """The camera, of batch shape [], of an image after undistortion, `square` and resizing."""
    return square(torch.zeros(3, *camera.hw), camera.pinholes().to(torch.float32), fit, size_px)[1]
