"""Between pixels with depth and world points."""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions, pixel_centers, pixel_map, world_from_pixel
from geometry.rotation.transforms import transform_points
from geometry.shapes import Float


def project(
    cameras: Cameras, points: Float[torch.Tensor, "*b n 3"]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
    """World points to pixel positions and depth.

    Points that a camera does not show have a depth of 0 or less and positions without meaning: those at or behind a
    perspective lens, those beyond any lens's reach. Test the depth.

    Args:
        cameras: Cameras of any batch shape b, with any lens.
        points: World points [*b, n, 3] in metres, n for each camera.

    Returns:
        Pixel positions (u, v) [*b, n, 2], and depth [*b, n] in metres: z for perspective lenses, the distance for the
        others (`geometry.camera.lenses`).
    """
    return pixels_of(cameras, transform_points(cameras.camera_from_world, points))


def pixels_of(
    cameras: Cameras, in_camera: Float[torch.Tensor, "*b n 3"]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
    """`project` of points in camera axes."""
    if cameras.lens is not None:
        plane, depth = cameras.lens.project(in_camera)
        image = torch.cat([plane, torch.ones_like(plane[..., :1])], -1) @ cameras.K.transpose(-1, -2)
        return image[..., :2], depth
    depth = in_camera[..., 2]
    safe = torch.where(depth.abs() < 1e-12, torch.full_like(depth, 1e-12), depth)
    image = in_camera @ cameras.K.transpose(-1, -2)
    return image[..., :2] / safe[..., None], depth


def unproject(cameras: Cameras, depth: Float[torch.Tensor, "*b 1 h w"]) -> Float[torch.Tensor, "*b h w 3"]:
    """World points of every pixel from its depth.

    Args:
        cameras: Cameras of any batch shape b, with any lens.
        depth: Depth [*b, 1, h, w] in metres, of the kind `project` returns. Sky (inf) gives non-finite points: mask it
            out.

    Returns:
        World points [*b, h, w, 3] in metres, in the cameras' float type.
    """
    if cameras.lens is None:
        rays, center = pixel_map(world_from_pixel(cameras), cameras.hw), cameras.centers[..., None, None]
        depth = depth.to(rays.dtype)
        needed = torch.is_grad_enabled() and (rays.requires_grad or depth.requires_grad or center.requires_grad)
        # In place where nothing has to be kept for gradients: half of the time goes into allocating memory.
        return torch.addcmul(center, rays, depth, out=None if needed else rays).movedim(-3, -1)
    uv = pixel_centers(cameras.hw, depth.device, cameras.K.dtype)
    in_camera = camera_directions(cameras, uv) * depth.movedim(-3, -1).to(cameras.K.dtype)
    return transform_points(cameras.world_from_camera, in_camera.flatten(-3, -2)).unflatten(-2, cameras.hw)
