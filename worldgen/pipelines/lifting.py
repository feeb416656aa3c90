"""From posed RGB-D frames to a point cloud and a mesh."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.mesh.meshes import Mesh, largest_components
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.runtime.manifest import tried

_VOXELS_PER_SCALE = 48
_REACH = 1.0  # of the world kept around the pivot, in scene scales


@as_value
@dataclass(frozen=True)
class Lifted:
    """What a clip's depth makes: both within one scene scale of the pivot.

    Attributes:
        points: The points; none where the depth is of nothing near the pivot.
        mesh: The fused surface; empty where there is none.
        failed: Which of the two is empty, and why.
    """

    points: PointCloud
    mesh: Mesh
    failed: dict[str, str] = field(default_factory=dict)


def lift(clip: Clip, pivot: Float[Tensor, "3"], scale: float) -> Lifted:
    """Lift frames to points and a fused surface.

    Args:
        clip: Posed frames [f] with depth.
        pivot: The center of what is kept, in the world.
        scale: The scene scale, metres: what is kept is within it of the pivot, in voxels of a 48th of it.

    Returns:
        The points and the mesh, in the world. One that cannot be made, as where the depth shows no surface near the
        pivot, is empty, with a note: the frames are worth keeping without it.
    """
    voxel = scale / _VOXELS_PER_SCALE
    bounds = torch.stack([pivot - _REACH * scale, pivot + _REACH * scale])

    def near_points() -> PointCloud:
        cloud = points_from_depth(clip.rgb, clip.depth, clip.cameras)
        near = (cloud.points - pivot).norm(dim=-1) < _REACH * scale
        if not bool(near.any()):
            raise InputError(f"no depth within {_REACH * scale:.3g} of the pivot; expected some")
        return voxel_downsample(cloud[near], voxel / 2)

    def surface() -> Mesh:
        mesh = fuse_tsdf(clip.rgb, clip.depth, clip.cameras, voxel, bounds=bounds)
        return largest_components(mesh, 0.01)

    none = torch.zeros(0, 3, device=clip.rgb.device)
    points, no_points = tried("the world has no points", near_points)
    mesh, no_mesh = tried("the world has no mesh", surface)
    return Lifted(
        PointCloud(none, none) if points is None else points,
        Mesh(none, none.long(), none) if mesh is None else mesh,
        {name: why for name, why in (("points.ply", no_points), ("mesh.glb", no_mesh)) if why},
    )
