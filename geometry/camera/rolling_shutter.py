"""Rolling shutter: rays and projection of cameras that move while their rows are read out.

The pose of `Cameras` is that of the middle of the readout; each row (or column) is read from another pose.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import pixels_of
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value

_ROUNDS = 12


@as_value
@dataclass(frozen=True)
class RollingShutter:
    """How cameras of batch shape b move during their readout.

    Attributes:
        velocity: Velocity of the center in the world [*b, 3], m/s.
        turning: Angular velocity in the world [*b, 3], rad/s: the axis times the speed.
        readout_s: Seconds from one edge of the image to the other [*b]; 0 is a global shutter.
        first: The side of the image that is read first.
    """

    velocity: Float[torch.Tensor, "*b 3"]
    turning: Float[torch.Tensor, "*b 3"]
    readout_s: Float[torch.Tensor, "*b"]
    first: Literal["top", "bottom", "left", "right"] = "top"

    def __post_init__(self) -> None:
        if self.first not in ("top", "bottom", "left", "right"):
            raise InputError(f"readout that starts at {self.first!r}; expected top, bottom, left or right")
        batch = self.readout_s.shape
        if self.velocity.shape != (*batch, 3) or self.turning.shape != (*batch, 3):
            raise InputError(
                f"rolling shutter: velocity {tuple(self.velocity.shape)}, turning {tuple(self.turning.shape)} for "
                f"readouts {tuple(batch)}; expected [*b, 3], [*b, 3] and [*b]"
            )

    def times(self, uv: Float[torch.Tensor, "*c n 2"], hw: tuple[int, int]) -> Float[torch.Tensor, "*b n"]:
        """When pixel positions are read [*b, n], in seconds from the middle of the readout."""
        axis, side = (1, hw[0]) if self.first in ("top", "bottom") else (0, hw[1])
        share = uv[..., axis] / side - 0.5
        return self.readout_s[..., None] * (share if self.first in ("top", "left") else -share)

    def turned(
        self, vectors: Float[torch.Tensor, "*b n 3"], time_s: Float[torch.Tensor, "*b n"]
    ) -> Float[torch.Tensor, "*b n 3"]:
        """World vectors turned as far as the cameras have turned at given times (Rodrigues' formula)."""
        rotation = self.turning[..., None, :] * time_s[..., None]
        square = (rotation * rotation).sum(-1, keepdim=True)
        angle = (square + torch.finfo(square.dtype).tiny ** 0.75).sqrt()
        once = torch.linalg.cross(rotation, vectors)
        twice = torch.linalg.cross(rotation, once)
        return vectors + angle.sin() / angle * once + 2 * ((angle / 2).sin() / angle).square() * twice


def rolling_ray_map(
    cameras: Cameras, shutter: RollingShutter
) -> tuple[Float[torch.Tensor, "*b h w 3"], Float[torch.Tensor, "*b h w 3"]]:
    """Origins and directions of every pixel's ray, each from where the camera is when its row is read.

    `geometry.plucker_of` makes Plücker rays of them.

    Args:
        cameras: Cameras of any batch shape b, with any lens, at the middle of their readout.
        shutter: How they move during it.

    Returns:
        Origins [*b, h, w, 3] in metres and directions [*b, h, w, 3] of unit length, both in the world.
    """
    uv = pixel_centers(cameras.hw, cameras.K.device, cameras.K.dtype)
    time_s = shutter.times(uv.flatten(0, 1).expand(*cameras.shape, -1, -1), cameras.hw)
    directions = camera_directions(cameras, uv).flatten(-3, -2) @ cameras.world_from_camera[..., :3, :3].mT
    directions = torch.nn.functional.normalize(shutter.turned(directions, time_s), dim=-1)
    origins = cameras.centers[..., None, :] + shutter.velocity[..., None, :] * time_s[..., None]
    return origins.unflatten(-2, cameras.hw), directions.unflatten(-2, cameras.hw)


def rolling_project(
    cameras: Cameras, shutter: RollingShutter, points: Float[torch.Tensor, "*b n 3"]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n"]]:
    """`geometry.project` of still points, each at the time at which its row is read.

    By fixed-point iteration: a point's row gives the time, which gives the row. Each round multiplies the error by the
    rows that the point moves while one row is read, so it converges where that is less than one, as in all usable
    images.

    Args:
        cameras: Cameras of any batch shape b, with any lens, at the middle of their readout.
        shutter: How they move during it.
        points: World points [*b, n, 3] in metres.

    Returns:
        Pixel positions [*b, n, 2] and depth [*b, n] in metres, as `geometry.project`.
    """
    time_s = torch.zeros_like(points[..., 0])
    rotation = cameras.world_from_camera[..., :3, :3]  # row vectors times it are turned into the camera
    uv, depth = pixels_of(cameras, (points - cameras.centers[..., None, :]) @ rotation)
    for _ in range(_ROUNDS):
        half = shutter.readout_s[..., None].abs() / 2
        time_s = torch.where(depth > 0, shutter.times(uv, cameras.hw).clamp(-half, half), time_s)
        offset = points - cameras.centers[..., None, :] - shutter.velocity[..., None, :] * time_s[..., None]
        uv, depth = pixels_of(cameras, shutter.turned(offset, -time_s) @ rotation)
    return uv, depth
