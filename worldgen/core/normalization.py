"""The network's normalization: poses relative to one reference camera, lengths divided by one scene scale.

Both are kept, so that results come back in the caller's frame and units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.trajectory.paths import nearest_point_to_axes
from geometry.values import as_value
from worldgen.core.clip import Clip

NEAREST = 1 / 3  # the nearest depth the signal can tell apart, in scene scales
PARALLEL_RAD = 0.05  # axes that differ by less than this say little about where they meet


@as_value
@dataclass(frozen=True)
class Normalization:
    """A reference camera and a scale.

    camera_from_world  [*b, 4, 4] of the reference camera
    scale              [*b] metres per unit of the network
    """

    camera_from_world: Float[Tensor, "*b 4 4"]
    scale: Float[Tensor, "*b"]

    @staticmethod
    def of(cameras: Cameras, scale: Float[Tensor, "*b"]) -> "Normalization":
        """The normalization of clips [*b, f] whose first frame is the reference."""
        return Normalization(cameras[..., 0].camera_from_world, scale)

    def __getitem__(self, index: slice | Tensor) -> "Normalization":
        """That of some of the clips."""
        return Normalization(self.camera_from_world[index], self.scale[index])

    def normalize(self, cameras: Cameras) -> Cameras:
        """World cameras [*b, f] to the network's."""
        return cameras.moved(self.camera_from_world[..., None, :, :]).scaled(1 / self.scale[..., None])

    def signal_from_depth(self, depth: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b f 1 h w"]:
        """Metres to the signal the network is given: scale / depth - 1, at most 2.

        So the sky is -1, a point one scale away 0, and anything nearer than a third of the scale 2. (Not clipped at
        one scale: by the 25th-percentile rule a quarter of all pixels is nearer than that.)
        """
        scale = self.scale[..., None, None, None, None]
        return scale / depth.clamp_min(NEAREST * scale) - 1

    def depth_from_signal(self, signal: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b f 1 h w"]:
        """The inverse of `signal_from_depth`; beyond 50 scales is sky (inf)."""
        inverse = (signal + 1).clamp_max(1 / NEAREST)
        scale = self.scale[..., None, None, None, None]
        return torch.where(inverse <= 1 / 50, torch.inf, scale / inverse.clamp_min(1 / 50))


def scene_scale_from_cameras(cameras: Cameras) -> Float[Tensor, "*b"]:
    """The scene scale of two or more cameras [*b, f]: how far ahead the point lies that they look at, on average, but
    no less than the RMS distance of their centers from the mean.

    Nearly parallel axes (within about three degrees) say nothing about that distance and take it as twenty times
    their RMS distance to the side, plus that along the axes. The scale is a continuous function of the poses. Cameras
    that look outwards get the RMS distance alone. 0 where all cameras are in one place.
    """
    forward = cameras.forward
    mean_center, mean_forward = cameras.centers.mean(-2), forward.mean(-2)
    offset = cameras.centers - mean_center[..., None, :]
    variance = offset.square().sum(-1).mean(-1)
    along = (offset * mean_forward[..., None, :]).sum(-1).square().mean(-1)
    guess = (variance - along).clamp_min(0).sqrt() / PARALLEL_RAD + along.sqrt()
    spread_of_axes = (1 - mean_forward.square().sum(-1)).clamp_min(0)
    weight = PARALLEL_RAD**6 / (PARALLEL_RAD**2 + spread_of_axes).square()
    pivot = nearest_point_to_axes(cameras.world_from_camera, mean_center + guess[..., None] * mean_forward, weight)
    ahead = ((pivot[..., None, :] - cameras.centers) * forward).sum(-1).clamp_min(0).mean(-1)
    return torch.maximum(ahead, variance.sqrt())


def scene_scale(clip: Clip) -> Float[Tensor, "*b"]:
    """The scene scale of clips [*b, f]: `scene_scale_from_cameras`, or where all cameras are in one place (or there is
    one alone) the 25th percentile of the first frame's known depth (1 where there is none)."""
    alone = clip.cameras.shape[-1] == 1
    scale = clip.rgb.new_zeros(clip.cameras.shape[:-1]) if alone else scene_scale_from_cameras(clip.cameras)
    depth = clip.depth[..., 0, 0, :, :].flatten(-2)
    known = (depth > 0) & depth.isfinite()
    quarter = (0.25 * (known.sum(-1, keepdim=True) - 1).clamp_min(0)).long()
    near = depth.masked_fill(~known, torch.inf).sort(-1).values.gather(-1, quarter).squeeze(-1)
    near = torch.where(near.isfinite(), near, 1.0)
    return torch.where(scale > 1e-3 * near, scale, near)


def require_scene_scale(cameras: Cameras) -> float:
    """`scene_scale_from_cameras` of one set of cameras [f]. Raises InputError when they are all in one place."""
    scale = float(scene_scale_from_cameras(cameras))
    if not scale > 1e-9:
        raise InputError("all cameras are in one place, which fixes no scale; give a radius")
    return scale
