"""Points by their nearest neighbors (scipy's k-d tree): outliers, normals, and how far two clouds are apart."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange

from geometry.errors import InputError
from geometry.points.pointclouds import PointCloud
from geometry.shapes import Bool, Float, Int

_CHUNK = 2**16


def nearest_neighbors(
    points: Float[torch.Tensor, "n 3"], others: Float[torch.Tensor, "m 3"], count: int
) -> tuple[Float[torch.Tensor, "n k"], Int[torch.Tensor, "n k"]]:
    """Distances (metres, not differentiable) and indices of the `count` nearest of the others, nearest first.

    Raises InputError for fewer others than that, or points that are not finite.
    """
    if not 1 <= count <= len(others):
        raise InputError(f"{count} nearest of {len(others)} points; expected 1 to as many as there are")
    distance, index = _tree(others).query(_finite(points), [*range(1, count + 1)])
    return torch.from_numpy(distance).to(points), torch.from_numpy(index).to(points.device)


def statistical_outliers(
    points: Float[torch.Tensor, "n 3"], neighbors: int = 20, ratio: float = 2.0
) -> Bool[torch.Tensor, "n"]:
    """Points whose mean distance to that many others is above the cloud's mean of it by more than `ratio` standard
    deviations (Rusu et al. 2008, section 4.1). Keep the rest: `cloud[~statistical_outliers(cloud.points)]`.

    Raises InputError for no more points than neighbors, or points that are not finite.
    """
    apart = nearest_neighbors(points, points, neighbors + 1)[0][:, 1:].double().mean(-1)
    return apart > apart.mean() + ratio * apart.std()


def radius_outliers(points: Float[torch.Tensor, "n 3"], radius_m: float, neighbors: int = 5) -> Bool[torch.Tensor, "n"]:
    """Points with fewer than that many others within a radius in metres.

    Raises InputError for a radius that is not positive, or points that are not finite.
    """
    if not radius_m > 0:
        raise InputError(f"neighbors within {radius_m} m; expected more than 0")
    near = _tree(points).query_ball_point(_finite(points), radius_m, return_length=True)
    return torch.from_numpy(near).to(points.device) - 1 < neighbors


def estimate_normals(cloud: PointCloud, viewpoints: Float[torch.Tensor, "*n 3"], neighbors: int = 16) -> PointCloud:
    """The cloud with unit normals: of the plane that fits each point and its neighbors best in least squares (Hoppe et
    al. 1992, section 3.2), on the side of it from which the point was seen.

    viewpoints  [3] one place, or [n, 3] one a point, in the world: of the cameras that saw them

    Raises InputError for no more points than neighbors, fewer than 3 of those, viewpoints of another shape, or points
    that are not finite.
    """
    if viewpoints.shape not in ((3,), cloud.points.shape):
        raise InputError(
            f"normals: viewpoints {tuple(viewpoints.shape)} for points {tuple(cloud.points.shape)}; "
            "expected [3] or one a point"
        )
    if not 3 <= neighbors < len(cloud):
        raise InputError(f"normals from {neighbors} neighbors of {len(cloud)} points; expected 3 to one less")
    points = cloud.points.detach()
    parts = []
    for part in nearest_neighbors(points, points, neighbors + 1)[1].split(_CHUNK):
        near = points.double()[part]
        offset = near - near.mean(1, keepdim=True)
        parts.append(torch.linalg.eigh(offset.mT @ offset).eigenvectors[..., 0])
    normals = torch.cat(parts)
    towards = ((viewpoints - points).double() * normals).sum(-1, keepdim=True)
    return PointCloud(cloud.points, cloud.colors, torch.where(towards < 0, -normals, normals).to(points.dtype))


@dataclass(frozen=True)
class CloudDistance:
    """How far points are from reference points: accuracy one way, completeness the other.

    to_reference    [n] distance of each point to the nearest reference point, metres
    from_reference  [m] distance of each reference point to the nearest point, metres
    """

    to_reference: Float[torch.Tensor, "n"]
    from_reference: Float[torch.Tensor, "m"]

    @property
    def chamfer(self) -> Float[torch.Tensor, ""]:
        """The mean unsquared distance, metres: of both ways' means (others add them, or square first)."""
        return (self.to_reference.mean() + self.from_reference.mean()) / 2

    def f_score(self, threshold_m: float) -> Float[torch.Tensor, ""]:
        """The harmonic mean of precision and recall: the shares of points and of reference points that have one of the
        others closer than the threshold (Knapitsch et al. 2017, section 3.2). 0 where none has."""
        precision, recall = (
            (way < threshold_m).to(way.dtype).mean() for way in (self.to_reference, self.from_reference)
        )
        return 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(precision.dtype).tiny)


def cloud_distance(points: Float[torch.Tensor, "n 3"], reference: Float[torch.Tensor, "m 3"]) -> CloudDistance:
    """Each point's distance to the nearest of the others, both ways: Chamfer distance and F-score.

    Differentiable in the points, but for which is nearest. Raises InputError for no points, or ones that are not
    finite.
    """

    def apart(these: torch.Tensor, those: torch.Tensor) -> torch.Tensor:
        index = nearest_neighbors(these.detach(), those.detach(), 1)[1]
        return torch.linalg.vector_norm(these - those[rearrange(index, "n 1 -> n")], dim=-1)

    if not len(points):
        raise InputError("distance of no points; expected at least one")
    return CloudDistance(apart(points, reference), apart(reference, points))


def _tree(points: torch.Tensor) -> Any:
    from scipy.spatial import KDTree

    return KDTree(_finite(points))


def _finite(points: torch.Tensor) -> Any:
    if not bool(points.isfinite().all()):
        raise InputError("points with NaN or infinite positions; expected finite ones")
    return points.detach().double().cpu().numpy()
