"""An exact scene: one sphere before the sky, ray cast in closed form."""

from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import ray_map
from geometry.trajectory.paths import orbit


@dataclass(frozen=True)
class SphereScene:
    """Images of a sphere colored by its normal (0.5 + normal / 2), gray sky; depth as `Clip` defines it."""

    rgb: torch.Tensor
    depth: torch.Tensor
    cameras: Cameras
    center: torch.Tensor
    radius: float


def see_sphere(cameras: Cameras, center: torch.Tensor, radius: float) -> SphereScene:
    """Exact images and z-depth of the sphere from cameras of batch shape [f]."""
    origin, direction = ray_map(cameras.to(torch.float64))
    offset = origin - center.double()
    along = (offset * direction).sum(-1)
    discriminant = along**2 - (offset**2).sum(-1) + radius**2
    length = -along - discriminant.clamp_min(0).sqrt()
    hit = (discriminant > 0) & (length > 0)
    z = length * (direction * cameras.forward.double()[:, None, None]).sum(-1)
    normal = (offset + length[..., None] * direction) / radius
    rgb = torch.where(hit[..., None], 0.5 + normal / 2, torch.full_like(normal, 0.5))
    depth = torch.where(hit, z, torch.full_like(z, torch.inf))
    return SphereScene(rgb.movedim(-1, 1).float(), depth[:, None].float(), cameras, center, radius)


def sphere_scene(hw: tuple[int, int] = (72, 96), frames: int = 10) -> SphereScene:
    """Three rings of cameras, 3 m around a sphere of radius 0.8 m that is not at the world's origin."""
    center = torch.tensor([1.0, 2.0, 0.5])
    poses = torch.cat([orbit(center, 3.0, elevation, frames) for elevation in (-50.0, 0.0, 50.0)])
    return see_sphere(Cameras.from_fov(poses, 45.0, hw), center, 0.8)
