"""From posed RGB-D frames to a point cloud and a mesh."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.mesh.meshes import Mesh, largest_components
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample
from geometry.shapes import Float
from worldgen.core.clip import Clip

_VOXELS_PER_SCALE = 48
_REACH = 1.0  # of the world kept around the pivot, in scene scales


@dataclass(frozen=True)
class Lifted:
    """What a clip's depth makes: both within one scene scale of the pivot."""

    points: PointCloud
    mesh: Mesh


def lift(clip: Clip, pivot: Float[Tensor, "3"], scale: float) -> Lifted:
    """Lift frames to points and a fused surface.

    Args:
        clip: Posed frames [f] with depth.
        pivot: The center of what is kept, in the world.
        scale: The scene scale, metres: what is kept is within it of the pivot, in voxels of a 48th of it.

    Returns:
        The points and the mesh, in the world.

    Raises:
        InputError: When the depth shows no surface near the pivot.
    """
    voxel = scale / _VOXELS_PER_SCALE
    cloud = points_from_depth(clip.rgb, clip.depth, clip.cameras)
    near = (cloud.points - pivot).norm(dim=-1) < _REACH * scale
    cloud = voxel_downsample(cloud[near], voxel / 2)
    bounds = torch.stack([pivot - _REACH * scale, pivot + _REACH * scale])
    mesh = fuse_tsdf(clip.rgb, clip.depth, clip.cameras, voxel, bounds=bounds)
    return Lifted(cloud, largest_components(mesh, 0.01))
