"""Between pixels with depth and world points."""

import torch

from geometry.cameras import Cameras
from geometry.rays import camera_directions, pixel_centres
from geometry.shapes import Float
from geometry.transforms import transform_points


def project(
    cameras: Cameras, points: Float[torch.Tensor, "*b n 3"]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
    """World points to pixel positions (u, v) and z-depth in metres, each camera with its own n points.

    Points at or behind the camera (depth <= 0) get pixel positions without meaning: test the depth.
    """
    in_camera = transform_points(cameras.camera_from_world, points)
    depth = in_camera[..., 2]
    safe = torch.where(depth.abs() < 1e-12, torch.full_like(depth, 1e-12), depth)
    image = in_camera @ cameras.K.transpose(-1, -2)
    return image[..., :2] / safe[..., None], depth


def unproject(cameras: Cameras, depth: Float[torch.Tensor, "*b 1 h w"]) -> Float[torch.Tensor, "*b h w 3"]:
    """World points of every pixel from its z-depth in metres, in the cameras' float type.

    Sky (inf) gives non-finite points: mask it out.
    """
    uv = pixel_centres(cameras.hw, depth.device, cameras.K.dtype)
    in_camera = camera_directions(cameras.K, uv) * depth.movedim(-3, -1).to(cameras.K.dtype)
    return transform_points(cameras.world_from_camera, in_camera.flatten(-3, -2)).unflatten(-2, cameras.hw)
