"""Colored point clouds, and how posed depth becomes one."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.errors import InputError
from geometry.image.checks import checked_frames
from geometry.image.coercion import DepthsLike, FramesLike
from geometry.image.depth import depth_edges
from geometry.shapes import Float
from geometry.similarity import Similarity
from geometry.values import as_value

GRAY = 0.7  # sRGB, of points that come without colors


@as_value
@dataclass(frozen=True)
class PointCloud:
    """Points in the world with colors.

    Attributes:
        points: Positions [n, 3], metres.
        colors: sRGB in 0..1 [n, 3].
        normals: Unit vectors out of the surface [n, 3] (`geometry.estimate_normals`), or None.
    """

    points: Float[torch.Tensor, "n 3"]
    colors: Float[torch.Tensor, "n 3"]
    normals: Float[torch.Tensor, "n 3"] | None = None

    def __post_init__(self) -> None:
        shapes = {name: tuple(values.shape) for name, values in self._columns().items()}
        if self.points.ndim != 2 or set(shapes.values()) != {(len(self.points), 3)}:
            seen = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise InputError(f"point cloud: {seen}; expected [n, 3] each with the same n")

    def __len__(self) -> int:
        """The number of points."""
        return len(self.points)

    def __getitem__(self, index: Any) -> "PointCloud":
        """Some of the points, by a mask, indices or a slice; one by its number."""
        if isinstance(index, int):
            index = torch.arange(len(self), device=self.points.device)[index][None]
        return replace(self, **{name: values[index] for name, values in self._columns().items()})

    def transformed(self, new_from_old: Similarity) -> "PointCloud":
        """The cloud in the new world; its normals turn."""
        normals = None if self.normals is None else self.normals @ new_from_old.rotation.to(self.normals).mT
        return replace(self, points=new_from_old.points(self.points), normals=normals)

    def with_float64_positions(self) -> "PointCloud":
        """The same cloud with its points in float64."""
        return replace(self, points=self.points.double())

    def _columns(self) -> dict[str, torch.Tensor]:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in columns.items() if values is not None}


def points_from_depth(
    rgb: FramesLike,
    depth: DepthsLike,
    cameras: Cameras,
    edge_ratio: float | None = 0.1,
) -> PointCloud:
    """One point for every pixel whose depth is known and finite.

    Args:
        rgb: Images [f, 3, h, w], sRGB in 0..1.
        depth: Their depth [f, 1, h, w] in metres.
        cameras: Their cameras [f].
        edge_ratio: The size of depth discontinuities at which pixels are dropped, because they mix near and far and
            their points would float between them: 0.1 drops jumps of about a tenth of the depth. None keeps them.

    Returns:
        The points frame by frame, row by row.

    Raises:
        InputError: If shapes disagree.
    """
    rgb, depth = checked_frames("points from depth", rgb, depth, cameras)
    keep = (depth > 0) & depth.isfinite()
    if edge_ratio is not None:
        keep &= ~depth_edges(depth, edge_ratio)
    points = unproject(cameras, torch.where(keep, depth, torch.ones_like(depth)))
    return PointCloud(points[keep[:, 0]], rgb.movedim(1, -1)[keep[:, 0]])


def voxel_downsample(cloud: PointCloud, voxel_m: float) -> PointCloud:
    """One point per occupied voxel: the mean of its points and of their colors and normals.

    Args:
        cloud: Any points.
        voxel_m: Side of the voxels in metres; one has a corner at the world's origin.

    Returns:
        The means, ordered by x, then y, then z of their voxels.

    Raises:
        InputError: If the side is not positive, a point is NaN or Inf, or the points span more than 2^62 voxels.
    """
    if not voxel_m > 0:
        raise InputError(f"voxel of {voxel_m} m; expected more than 0")
    if not len(cloud):
        return cloud
    if not bool(cloud.points.isfinite().all()):
        raise InputError("point cloud with NaN or Inf; expected finite points")
    cell = (cloud.points.detach().double() / voxel_m).floor()
    cell = cell - cell.amin(0)
    if float((cell.amax(0) + 1).prod()) > 2**62:
        raise InputError(f"voxel of {voxel_m} m is too small for these points; expected fewer than 2^62 voxels")
    x, y, z = cell.long().unbind(-1)
    key = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    _, cube, count = key.unique(return_inverse=True, return_counts=True)

    def mean(values: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(count), 3, dtype=torch.float64, device=values.device)
        return (total.index_add(0, cube, values.double()) / count[:, None]).to(values.dtype)

    normals = None if cloud.normals is None else torch.nn.functional.normalize(mean(cloud.normals), dim=-1)
    return PointCloud(mean(cloud.points), mean(cloud.colors), normals)
