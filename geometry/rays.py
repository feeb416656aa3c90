"""Viewing rays and the Plücker embedding."""

import torch

from geometry.cameras import Cameras
from geometry.shapes import Float


def pixel_centres(
    hw: tuple[int, int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[torch.Tensor, "h w 2"]:
    """(u, v) of every pixel centre: column + 0.5, row + 0.5."""
    v, u = torch.meshgrid(
        torch.arange(hw[0], device=device, dtype=dtype) + 0.5,
        torch.arange(hw[1], device=device, dtype=dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([u, v], -1)


def camera_directions(
    K: Float[torch.Tensor, "*b 3 3"], uv: Float[torch.Tensor, "h w 2"]
) -> Float[torch.Tensor, "*b h w 3"]:
    """Ray directions in camera axes with z = 1 for a grid of pixel positions shared by the batch (any K with skew)."""
    homogeneous = torch.cat([uv, torch.ones_like(uv[..., :1])], -1).flatten(0, 1)
    directions = homogeneous @ torch.linalg.inv(K).transpose(-1, -2)
    return directions.unflatten(-2, uv.shape[:2])


def ray_map(cameras: Cameras) -> tuple[Float[torch.Tensor, "*b h w 3"], Float[torch.Tensor, "*b h w 3"]]:
    """Origins and unit directions of every pixel's ray in the world."""
    uv = pixel_centres(cameras.hw, cameras.K.device, cameras.K.dtype)
    directions = camera_directions(cameras.K, uv).flatten(-3, -2)
    directions = directions @ cameras.world_from_camera[..., :3, :3].transpose(-1, -2)
    directions = torch.nn.functional.normalize(directions, dim=-1).unflatten(-2, cameras.hw)
    return cameras.centres[..., None, None, :].expand_as(directions), directions


def plucker(cameras: Cameras) -> Float[torch.Tensor, "*b 6 h w"]:
    """Plücker embedding (d, o x d), d of unit length, of every pixel's ray (Sitzmann et al. 2021, eq. 1).

    The moment o x d does not change when o slides along the ray.
    """
    origins, directions = ray_map(cameras)
    return torch.cat([directions, torch.linalg.cross(origins, directions)], -1).movedim(-1, -3)
