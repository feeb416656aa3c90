"""The network's gauge: poses relative to one reference camera, lengths divided by one scene scale.

Both are kept, so that results come back in the caller's frame and units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.trajectories import nearest_point_to_axes
from worldgen.clip import Clip

NEAREST = 1 / 3  # the nearest depth the network can tell apart, in scene scales


@dataclass(frozen=True)
class Gauge:
    """A reference camera and a scale.

    camera_from_world  [*b, 4, 4] of the reference camera
    scale              [*b] metres per unit of the network
    """

    camera_from_world: Float[Tensor, "*b 4 4"]
    scale: Float[Tensor, "*b"]

    @staticmethod
    def of(cameras: Cameras, scale: Float[Tensor, "*b"]) -> "Gauge":
        """The gauge of clips [*b, f] whose first frame is the reference."""
        return Gauge(cameras[..., 0].camera_from_world, scale)

    def normalise(self, cameras: Cameras) -> Cameras:
        """World cameras [*b, f] to the network's."""
        return cameras.moved(self.camera_from_world[..., None, :, :]).scaled(1 / self.scale[..., None])

    def signal_from_depth(self, depth: Float[Tensor, "*b f 1 h w"]) -> Float[Tensor, "*b f 1 h w"]:
        """Metres to what the network sees: scale / depth - 1, at most 2.

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


def batch_scale(cameras: Cameras) -> Float[Tensor, "*b"]:
    """The scene scale of two or more cameras [*b, f]: the mean distance of their centres to the point they look at.

    Cameras that look outwards or sideways (their axes meet behind one, or far away beside the room they take up) use
    the RMS distance of their centres from the mean instead. 0 where all cameras are in one place.
    """
    centres = cameras.centres
    offset = nearest_point_to_axes(cameras.world_from_camera)[..., None, :] - centres
    spread = (centres - centres.mean(-2, keepdim=True)).norm(dim=-1).square().mean(-1).sqrt()
    distance = offset.norm(dim=-1).mean(-1)
    inward = ((offset * cameras.forward).sum(-1) > 0).all(-1) & (distance < 20 * spread)
    return torch.where(inward, distance, spread)


def clip_scale(clip: Clip) -> Float[Tensor, "*b"]:
    """The scene scale of clips [*b, f]: `batch_scale`, or where all cameras are in one place the 25th percentile of
    the first frame's known depth (1 where there is none)."""
    scale = batch_scale(clip.cameras)
    depth = clip.depth[..., 0, 0, :, :].flatten(-2)
    known = (depth > 0) & depth.isfinite()
    quarter = (0.25 * (known.sum(-1, keepdim=True) - 1).clamp_min(0)).long()
    near = depth.masked_fill(~known, torch.inf).sort(-1).values.gather(-1, quarter).squeeze(-1)
    near = torch.where(near.isfinite(), near, 1.0)
    return torch.where(scale > 1e-3 * near, scale, near)


def scale_of(cameras: Cameras) -> float:
    """`batch_scale` of one set of cameras [f]. Raises InputError when they are all in one place."""
    scale = float(batch_scale(cameras))
    if not scale > 1e-9:
        raise InputError("all cameras are in one place, which fixes no scale; give a radius")
    return scale
