"""Rays of images in square bundles, and bundled values back to images."""

import torch
from einops import rearrange
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions, pixel_centers
from worldgen.scenes.rendering.constants import BUNDLE


def image_bundles(cameras: Cameras, supersample: int) -> tuple[Tensor, Tensor]:
    """Rays of images [p] in square bundles: origins [p, 1, 3, 1], directions [p, t, 3, k] with camera z = 1, or of
    unit length where a lens has depth along the ray.

    Bundles that extend past the lower and right edge repeat the last rays.
    """
    fine = cameras.resized((cameras.hw[0] * supersample, cameras.hw[1] * supersample))
    uv = pixel_centers(fine.hw, fine.K.device, fine.K.dtype)
    for axis in (0, 1):
        count = -(-uv.shape[axis] // BUNDLE) * BUNDLE
        index = torch.arange(count, device=uv.device).clamp_max(uv.shape[axis] - 1)
        uv = uv.index_select(axis, index)
    direction = camera_directions(fine, uv)
    direction = rearrange(direction, "p (y i) (x j) c -> p c (y x i j)", i=BUNDLE, j=BUNDLE)
    direction = fine.world_from_camera[..., :3, :3] @ direction
    direction = rearrange(direction, "p c (t k) -> p t c k", k=BUNDLE**2)
    return fine.centers[:, None, :, None], direction.contiguous()


def bundled_images(bundled: Tensor, hw: tuple[int, int], supersample: int) -> Tensor:
    """Images [p, c, h, w] of bundled values [p, t, c, k], the mean over the rays of each pixel."""
    height, width = hw[0] * supersample, hw[1] * supersample
    across = -(-width // BUNDLE)
    fine = rearrange(bundled, "p (y x) c (i j) -> p c (y i) (x j)", x=across, i=BUNDLE)[..., :height, :width]
    if supersample == 1:
        return fine
    return rearrange(fine, "p c (h i) (w j) -> p c h w (i j)", i=supersample, j=supersample).mean(-1)
