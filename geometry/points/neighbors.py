"""Nearest neighbors of points (scipy's k-d tree): outliers, normals, and distances between clouds."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange

from geometry.errors import InputError
from geometry.points.pointclouds import PointCloud
from geometry.shapes import Bool, Float, Int
from geometry.values import as_value

_POINTS_AT_ONCE = 2**16


def nearest_neighbors(
    points: Float[torch.Tensor, "n 3"], others: Float[torch.Tensor, "m 3"], count: int
) -> tuple[Float[torch.Tensor, "n k"], Int[torch.Tensor, "n k"]]:
    """The nearest of other points, by Euclidean distance. Not differentiable.

    Args:
        points: Points [n, 3].
        others: Candidates [m, 3].
        count: How many neighbors to find for each point: k.

    Returns:
        Distances [n, k] and indices into `others` [n, k], nearest first.

    Raises:
        InputError: If there are fewer than k others, or a point is NaN or Inf.
    """
    if not 1 <= count <= len(others):
        raise InputError(f"{count} nearest of {len(others)} points; expected 1 to {len(others)}")
    distance, index = _tree(others).query(_finite(points), [*range(1, count + 1)])
    return torch.from_numpy(distance).to(points), torch.from_numpy(index).to(points.device)


def statistical_outliers(
    points: Float[torch.Tensor, "n 3"], neighbors: int = 20, ratio: float = 2.0
) -> Bool[torch.Tensor, "n"]:
    """Points that are unusually far from their neighbors (Rusu et al. 2008, section 4.1).

    `cloud[~statistical_outliers(cloud.points)]` keeps the others.

    Args:
        points: Points [n, 3].
        neighbors: How many nearest neighbors to average over.
        ratio: By how many standard deviations a point's mean distance to them has to exceed the mean over all points.

    Returns:
        A mask of the outliers [n].

    Raises:
        InputError: If there are no more points than neighbors, or one is NaN or Inf.
    """
    apart = nearest_neighbors(points, points, neighbors + 1)[0][:, 1:].double().mean(-1)
    return apart > apart.mean() + ratio * apart.std()


def radius_outliers(points: Float[torch.Tensor, "n 3"], radius_m: float, neighbors: int = 5) -> Bool[torch.Tensor, "n"]:
    """Points with few others around them.

    Args:
        points: Points [n, 3], metres.
        radius_m: The radius in metres.
        neighbors: How many others have to be within it.

    Returns:
        A mask of the outliers [n].

    Raises:
        InputError: If the radius is not positive, or a point is NaN or Inf.
    """
    if not radius_m > 0:
        raise InputError(f"neighbors within {radius_m} m; expected more than 0")
    near = _tree(points).query_ball_point(_finite(points), radius_m, return_length=True)
    return torch.from_numpy(near).to(points.device) - 1 < neighbors


def estimate_normals(cloud: PointCloud, viewpoints: Float[torch.Tensor, "*n 3"], neighbors: int = 16) -> PointCloud:
    """A cloud's normals, from the planes that best fit each point and its neighbors (Hoppe et al. 1992, section 3.2).

    Args:
        cloud: Points, with any normals.
        viewpoints: The camera centers from which points were seen, in the world: one [3], or one for each point [n, 3].
            Normals point to them.
        neighbors: How many neighbors a plane is fitted to, 3 or more.

    Returns:
        The same points with unit normals.

    Raises:
        InputError: If there are no more points than neighbors, fewer than 3 neighbors, viewpoints of another shape, or
            a point is NaN or Inf.
    """
    if viewpoints.shape not in ((3,), cloud.points.shape):
        raise InputError(
            f"normals: viewpoints {tuple(viewpoints.shape)} for points {tuple(cloud.points.shape)}; "
            "expected [3] or one per point"
        )
    if not 3 <= neighbors < len(cloud):
        raise InputError(f"normals from {neighbors} neighbors of {len(cloud)} points; expected 3 to {len(cloud) - 1}")
    points = cloud.points.detach()
    parts = []
    for part in nearest_neighbors(points, points, neighbors + 1)[1].split(_POINTS_AT_ONCE):
        near = points.double()[part]
        offset = near - near.mean(1, keepdim=True)
        parts.append(torch.linalg.eigh(offset.mT @ offset).eigenvectors[..., 0])
    normals = torch.cat(parts)
    towards = ((viewpoints - points).double() * normals).sum(-1, keepdim=True)
    return PointCloud(cloud.points, cloud.colors, torch.where(towards < 0, -normals, normals).to(points.dtype))


@as_value
@dataclass(frozen=True)
class CloudDistance:
    """How far points are from reference points: accuracy in one direction, completeness in the other.

    Attributes:
        to_reference: Distance of each point to the nearest reference point [n], metres.
        from_reference: Distance of each reference point to the nearest point [m], metres.
    """

    to_reference: Float[torch.Tensor, "n"]
    from_reference: Float[torch.Tensor, "m"]

    @property
    def chamfer(self) -> Float[torch.Tensor, ""]:
        """Chamfer distance, metres: the mean of both directions' mean distances (others add them, or square first)."""
        return (self.to_reference.mean() + self.from_reference.mean()) / 2

    def f_score(self, threshold_m: float) -> Float[torch.Tensor, ""]:
        """F-score (Knapitsch et al. 2017, section 3.2): the harmonic mean of precision and recall.

        These are the shares of points, and of reference points, with one of the others closer than the threshold.
        """
        precision, recall = (
            (way < threshold_m).to(way.dtype).mean() for way in (self.to_reference, self.from_reference)
        )
        return 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(precision.dtype).tiny)


def cloud_distance(points: Float[torch.Tensor, "n 3"], reference: Float[torch.Tensor, "m 3"]) -> CloudDistance:
    """Distances between two clouds: of each point to the nearest of the other cloud, in both directions.

    Differentiable in the points, except for which one is nearest.

    Args:
        points: Points [n, 3], metres.
        reference: Reference points [m, 3], metres.

    Returns:
        The distances, with the Chamfer distance and the F-score.

    Raises:
        InputError: If a cloud has no points, or a point is NaN or Inf.
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
        raise InputError("points with NaN or Inf; expected finite positions")
    return points.detach().double().cpu().numpy()
