"""Viewing rays, the Plücker embedding, and fields of view."""

import math

import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import cross_matrix
from geometry.shapes import Bool, Float


def pixel_centers(
    hw: tuple[int, int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[torch.Tensor, "h w 2"]:
    """(u, v) of every pixel center: column + 0.5, row + 0.5."""
    v, u = torch.meshgrid(
        torch.arange(hw[0], device=device, dtype=dtype) + 0.5,
        torch.arange(hw[1], device=device, dtype=dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([u, v], -1)


def camera_directions(cameras: Cameras, uv: Float[torch.Tensor, "*c h w 2"]) -> Float[torch.Tensor, "*b h w 3"]:
    """Ray directions in camera axes for grids of pixel positions, one grid per camera or one for all (K may have skew).

    With z = 1 for perspective lenses and of unit length for the others, so that a direction times the pixel's depth is
    its point (`geometry.camera.lenses`). Where a lens shows nothing, the direction is one at its edge (`lens_mask`).
    """
    directions = _on_plane(cameras.K, uv)
    if cameras.lens is not None:
        directions = cameras.lens.directions(directions[..., :2])[0]
    return directions.unflatten(-2, uv.shape[-3:-1])


def lens_mask(cameras: Cameras) -> Bool[torch.Tensor, "*b 1 h w"]:
    """The pixels at which the lenses show anything: all of a pinhole's.

    Args:
        cameras: Cameras of any batch shape b.

    Returns:
        A mask [*b, 1, h, w].
    """
    if cameras.lens is None:
        return torch.ones(*cameras.shape, 1, *cameras.hw, dtype=torch.bool, device=cameras.K.device)
    plane = _on_plane(cameras.K, pixel_centers(cameras.hw, cameras.K.device, cameras.K.dtype))
    return cameras.lens.directions(plane[..., :2])[1].unflatten(-1, (1, *cameras.hw))


def _on_plane(K: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """Pixel positions [*c, h, w, 2] as (x, y, 1) on the plane that K takes to pixels: [*b, h w, 3]."""
    homogeneous = torch.cat([uv, torch.ones_like(uv[..., :1])], -1).flatten(-3, -2)
    return homogeneous @ torch.linalg.inv(K).transpose(-1, -2)


def ray_map(cameras: Cameras) -> tuple[Float[torch.Tensor, "*b h w 3"], Float[torch.Tensor, "*b h w 3"]]:
    """Origins and directions of every pixel's ray.

    Args:
        cameras: Cameras of any batch shape b, with any lens.

    Returns:
        Origins [*b, h, w, 3] in metres and directions [*b, h, w, 3] of unit length, both in the world.
    """
    uv = pixel_centers(cameras.hw, cameras.K.device, cameras.K.dtype)
    directions = camera_directions(cameras, uv).flatten(-3, -2)
    directions = directions @ cameras.world_from_camera[..., :3, :3].transpose(-1, -2)
    directions = torch.nn.functional.normalize(directions, dim=-1).unflatten(-2, cameras.hw)
    return cameras.centers[..., None, None, :].expand_as(directions), directions


def pixel_map(matrix: Float[torch.Tensor, "*b n 3"], hw: tuple[int, int]) -> Float[torch.Tensor, "*b n h w"]:
    """matrix @ (u, v, 1) of every pixel center, from one part per row and one per column."""
    row, column = (torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 0.5 for side in hw)
    across = matrix[..., 0, None] * column
    down = matrix[..., 1, None] * row + matrix[..., 2, None]
    return down[..., :, None] + across[..., None, :]


def world_from_pixel(cameras: Cameras) -> Float[torch.Tensor, "*b 3 3"]:
    """Takes (u, v, 1) of a pinhole's pixel to its ray's direction in the world, of depth 1."""
    return cameras.world_from_camera[..., :3, :3] @ torch.linalg.inv(cameras.K)


def plucker(cameras: Cameras) -> Float[torch.Tensor, "*b 6 h w"]:
    """Plücker embedding (d, o x d), d of unit length, of every pixel's ray (Sitzmann et al. 2021, eq. 1).

    The moment o x d does not change when o slides along the ray.

    Args:
        cameras: Cameras of any batch shape b, with any lens.

    Returns:
        Directions and moments (metres) [*b, 6, h, w].
    """
    if cameras.lens is not None:
        return plucker_of(*ray_map(cameras))
    direction = world_from_pixel(cameras)
    both = torch.cat([direction, cross_matrix(cameras.centers) @ direction], -2)
    maps = pixel_map(both, cameras.hw)
    x, y, z = maps[..., :3, :, :].unbind(-3)
    inverse = (x * x).addcmul_(y, y).addcmul_(z, z).rsqrt_()[..., None, :, :]
    return maps * inverse if maps.requires_grad else maps.mul_(inverse)


def plucker_of(
    origins: Float[torch.Tensor, "*b h w 3"], directions: Float[torch.Tensor, "*b h w 3"]
) -> Float[torch.Tensor, "*b 6 h w"]:
    """Plücker embedding (d, o x d) of given rays (Sitzmann et al. 2021, eq. 1).

    Args:
        origins: Any point of each ray [*b, h, w, 3], metres.
        directions: Directions d of unit length [*b, h, w, 3].

    Returns:
        Directions and moments (metres) [*b, 6, h, w].
    """
    return torch.cat([directions, torch.linalg.cross(origins, directions)], -1).movedim(-1, -3)


def fov_deg(cameras: Cameras) -> Float[torch.Tensor, "*b 2"]:
    """Fields of view through the principal point's row and column.

    Args:
        cameras: Cameras of any batch shape b, with any lens.

    Returns:
        Horizontal and vertical angles [*b, 2] in degrees; they may be more than 180.
    """
    cx, cy = cameras.K[..., 0, 2], cameras.K[..., 1, 2]
    width, height = torch.full_like(cx, cameras.hw[1]), torch.full_like(cx, cameras.hw[0])
    ends = torch.stack([torch.stack([0 * cx, cy, width, cy], -1), torch.stack([cx, 0 * cy, cx, height], -1)], -2)
    rays = camera_directions(cameras, ends.unflatten(-1, (2, 2)))  # [*b, axis, end, 3]
    # An end each side of the principal point: two angles to the axis, which together may be more than 180 degrees.
    aside = torch.stack([rays[..., 0, :, 0], rays[..., 1, :, 1]], -2)
    angles = torch.atan2(aside, rays[..., 2]) * (180 / math.pi)
    return angles[..., 1] - angles[..., 0]
