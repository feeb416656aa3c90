"""Points by their nearest neighbors, against all pairs of points and against the reference libraries."""

import math

import pytest
import torch
from safetensors.torch import load_file

from geometry.points.neighbors import (
    cloud_distance,
    estimate_normals,
    nearest_neighbors,
    radius_outliers,
    statistical_outliers,
)
from geometry.points.pointclouds import PointCloud


def cloud_with_strays(count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a unit square with ten far above it at the end, and which ones those are."""
    points = torch.rand(count, 3, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0])
    points[-10:, 2] += 1 + torch.rand(10)
    return points, torch.arange(count) >= count - 10


def test_the_nearest_are_those_of_all_pairs() -> None:
    points, others = torch.randn(40, 3), torch.randn(60, 3)
    distance, index = nearest_neighbors(points, others, 5)
    expected = torch.cdist(points.double(), others.double()).topk(5, largest=False)
    assert torch.equal(index, expected.indices) and distance.dtype == torch.float32
    assert torch.allclose(distance.double(), expected.values, atol=1e-6)
    assert nearest_neighbors(points, others, 1)[1].shape == (40, 1)


def test_outliers_are_those_whose_neighbors_are_far_or_few() -> None:
    points, stray = cloud_with_strays()
    apart = torch.cdist(points, points).sort(-1).values[:, 1:9].mean(-1)
    assert torch.equal(statistical_outliers(points, 8, 1.5), apart > apart.mean() + 1.5 * apart.std())
    found = statistical_outliers(points)
    assert bool(found[stray].all()) and found.sum() < 25
    others = (torch.cdist(points, points) <= 0.1).sum(-1) - 1
    assert torch.equal(radius_outliers(points, 0.1, 4), others < 4)
    assert bool(radius_outliers(points, 0.15)[stray].all())


@pytest.mark.parametrize("inside", [False, True])
def test_normals_of_a_sphere_point_to_the_camera(inside) -> None:
    surface = torch.nn.functional.normalize(torch.randn(3000, 3, dtype=torch.float64), dim=-1)
    cloud = PointCloud(surface.float(), torch.rand(3000, 3))
    eyes = torch.zeros(3) if inside else 3 * cloud.points
    normals = estimate_normals(cloud, eyes).normals
    assert normals is not None and torch.allclose(normals.norm(dim=-1), torch.ones(3000), atol=1e-6)
    cosine = (normals.double() * surface).sum(-1) * (-1 if inside else 1)
    assert cosine.min() > math.cos(math.radians(15)) and cosine.mean() > math.cos(math.radians(3))


def test_normals_of_a_plane_are_exact_and_turn_to_one_viewpoint() -> None:
    points = torch.randn(200, 3, dtype=torch.float64)
    normal = torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), dim=0)
    points -= (points @ normal)[:, None] * normal
    for side in (1.0, -1.0):
        found = estimate_normals(PointCloud(points, points), side * 2 * normal).normals
        assert found is not None and torch.allclose(found, side * normal.expand_as(found), atol=1e-7)


def test_chamfer_and_f_score_agree_with_the_reference(shared) -> None:
    golden = load_file(shared / "golden/metrics_chamfer.safetensors")
    threshold = float(golden["threshold"])
    for i, (x, y) in enumerate(zip(golden["x"], golden["y"])):
        between = cloud_distance(x.double(), y.double())
        assert float(2 * between.chamfer) == pytest.approx(float(golden["scipy_euclidean_per_batch"][i]), rel=1e-12)
        ways = between.to_reference.square().mean(), between.from_reference.square().mean()
        assert float(sum(ways)) == pytest.approx(float(golden["scipy_squared_per_batch"][i]), rel=1e-12)
        assert float(sum(ways)) == pytest.approx(float(golden["per_batch"][i]), rel=1e-6)
        assert float(ways[0]) == pytest.approx(float(golden["single_direction_x_to_y"][i]), rel=1e-6)
        assert torch.equal(nearest_neighbors(x, y, 1)[1][:, 0], golden["nn_index_x_to_y"][i])
        assert torch.allclose(between.to_reference.square().float(), golden["nn_sqdist_x_to_y"][i], atol=1e-6)
        assert float(between.f_score(threshold)) == pytest.approx(float(golden["scipy_fscore"][i]), rel=1e-12)
        lengths = golden["x_lengths"][i], golden["y_lengths"][i]
        short = cloud_distance(x[: lengths[0]].double(), y[: lengths[1]].double())
        total = short.to_reference.square().mean() + short.from_reference.square().mean()
        assert float(total) == pytest.approx(float(golden["with_lengths"][i]), rel=1e-6)


def test_equal_clouds_have_distance_0_and_a_moved_one_the_distance_moved() -> None:
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3).requires_grad_()
    between = cloud_distance(grid, grid.detach())
    assert float(between.chamfer) == 0 and float(between.f_score(0.1)) == 1
    between.chamfer.backward()
    assert grid.grad is not None and bool(grid.grad.isfinite().all())
    moved = cloud_distance(grid + torch.tensor([0.0, 0.1, 0.0]), grid)
    assert float(moved.chamfer) == pytest.approx(0.1) and float(moved.f_score(0.05)) == 0


def test_invalid_arguments_are_refused(refused, unchecked) -> None:
    points = torch.rand(5, 3)
    with refused("6 nearest of 5"):
        nearest_neighbors(points, points, 6)
    with refused("NaN"):
        cloud_distance(points, points * math.nan)
    with refused("no points"):
        cloud_distance(points[:0], points)
    with refused("nearest of 0"):
        cloud_distance(points, points[:0])
    with refused("within 0 m"):
        radius_outliers(points, 0)
    with refused("16 neighbors of 5"):
        estimate_normals(PointCloud(points, points), points)
    with refused("viewpoints (4, 3)"):
        estimate_normals(PointCloud(points, points), points[:4])
