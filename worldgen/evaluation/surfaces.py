"""How far surfaces are apart."""

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.meshes import Mesh
from geometry.shapes import Float


def surface_points(mesh: Mesh, count: int, seed: int = 0) -> Float[Tensor, "count 3"]:
    """Points spread evenly over a mesh's surface, at random: a face by its area, then uniformly in it. float64.

    Raises InputError for a mesh without area.
    """
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1).cumsum(0)
    if not len(area) or not float(area[-1]) > 0:
        raise InputError(f"points on a mesh of {len(area)} faces; expected a surface of positive area")
    u, v, w = torch.rand(3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    face = torch.searchsorted(area, w * area[-1], right=True).clamp_max(len(area) - 1)
    fold = u + v > 1
    u, v = torch.where(fold, 1 - u, u)[:, None], torch.where(fold, 1 - v, v)[:, None]
    return a[face] + u * (b - a)[face] + v * (c - a)[face]


def nearest_distance(points: Float[Tensor, "n 3"], others: Float[Tensor, "m 3"]) -> Float[Tensor, "n"]:
    """How far the nearest of the others is from each point, metres, float64."""
    from scipy.spatial import KDTree

    return torch.from_numpy(KDTree(others.double().numpy()).query(points.double().numpy())[0])


def chamfer(a: Float[Tensor, "n 3"], b: Float[Tensor, "m 3"]) -> float:
    """The Chamfer distance, unsquared, metres: the mean of a's mean distance to b and of b's to a."""
    return float(nearest_distance(a, b).mean() + nearest_distance(b, a).mean()) / 2
