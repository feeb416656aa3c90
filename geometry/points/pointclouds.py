"""Colored point clouds from posed depth."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.errors import InputError
from geometry.image.checks import check_frames
from geometry.image.depth import depth_edges
from geometry.shapes import Float
from geometry.similarity import Similarity

GRAY = 0.7  # sRGB, of points that come without colors


@dataclass(frozen=True)
class PointCloud:
    """Points in the world with a color each.

    points   [n, 3] metres
    colors  [n, 3] sRGB in 0..1
    normals  [n, 3] unit, out of the surface (`geometry.estimate_normals`), or None
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
        """Some of the points, by a mask, indices or a slice."""
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
    rgb: Float[torch.Tensor, "f 3 h w"],
    depth: Float[torch.Tensor, "f 1 h w"],
    cameras: Cameras,
    edge_ratio: float | None = 0.1,
) -> PointCloud:
    """One point for every pixel whose depth (metres) is known and finite; `cameras` has batch shape [f].

    edge_ratio  drops pixels at depth discontinuities (`depth_edges`), where a pixel mixes near and far and its point
                would float between them: 0.1 drops jumps of about a tenth of the depth. None keeps them.

    Points come frame by frame, row by row. Raises InputError when shapes disagree.
    """
    check_frames("points from depth", rgb, depth, cameras)
    keep = (depth > 0) & depth.isfinite()
    if edge_ratio is not None:
        keep &= ~depth_edges(depth, edge_ratio)
    points = unproject(cameras, torch.where(keep, depth, torch.ones_like(depth)))
    return PointCloud(points[keep[:, 0]], rgb.movedim(1, -1)[keep[:, 0]])


def voxel_downsample(cloud: PointCloud, voxel_m: float) -> PointCloud:
    """One point per occupied cube of side `voxel_m` metres: the mean of its points and of their colors and normals.

    Cubes have a corner at the world's origin; the result is ordered by x, then y, then z of its cube.
    Raises InputError for a side that is not positive, non-finite points, or more than 2^62 cubes across.
    """
    if not voxel_m > 0:
        raise InputError(f"voxel of {voxel_m} m; expected more than 0")
    if not len(cloud):
        return cloud
    if not bool(cloud.points.isfinite().all()):
        raise InputError("point cloud with NaN or infinite points; expected finite ones")
    cell = (cloud.points.double() / voxel_m).floor()
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
