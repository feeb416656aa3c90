"""Point clouds from depth."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.camera.cameras import Cameras
from geometry.camera.rays import pixel_centers
from geometry.errors import InputError
from geometry.image.depth import depth_edges
from geometry.image.warping import forward_warp
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample
from geometry.trajectory.paths import orbit
from tests.geometry.spheres import sphere_scene


def plane_depth(hw: tuple[int, int], slope: float) -> torch.Tensor:
    """z-depth of a plane: inverse depth is linear in pixel coordinates."""
    uv = pixel_centers(hw, dtype=torch.float64)
    return 1 / (0.2 + slope * uv[..., 0] + 0.5 * slope * uv[..., 1])[None]


def test_points_of_exact_depth_lie_on_the_sphere_with_its_colors_and_sky_gives_none() -> None:
    scene = sphere_scene(frames=3)
    cloud = points_from_depth(scene.rgb, scene.depth, scene.cameras, edge_ratio=None)
    assert len(cloud) == int(scene.depth.isfinite().sum())
    normal = (cloud.points - scene.center) / scene.radius
    assert (normal.norm(dim=-1) - 1).abs().max() < 1e-5
    assert (cloud.colors - (0.5 + normal / 2)).abs().max() < 1e-5


def test_unknown_and_infinite_depth_give_no_point() -> None:
    depth = torch.tensor([[0.0, math.inf, 0.0], [math.inf, 2.0, 3.0]])[None, None]
    cameras = Cameras.from_fov(torch.eye(4)[None], 90.0, (2, 3))
    cloud = points_from_depth(torch.rand(1, 3, 2, 3), depth, cameras, edge_ratio=None)
    assert cloud.points[:, 2].tolist() == [2.0, 3.0]


@pytest.mark.parametrize("slope", [0.0, 0.001, 0.1, 3.0])
def test_a_plane_has_no_edges_however_slanted(slope) -> None:
    assert not depth_edges(plane_depth((12, 15), slope), 1e-6).any()


@pytest.mark.parametrize(("step", "is_edge"), [(1.05, False), (1.3, True), (math.inf, True)])
def test_a_step_is_an_edge_on_both_sides_when_it_exceeds_the_ratio(step, is_edge) -> None:
    depth = torch.full((1, 6, 8), 2.0)
    depth[..., 4:] *= step
    expected = torch.zeros(1, 6, 8, dtype=torch.bool)
    expected[..., 3:5] = is_edge
    for turned, marks in ((depth, expected), (depth.mT, expected.mT)):
        assert torch.equal(depth_edges(turned, 0.1), marks)


def test_unknown_neighbors_are_no_evidence_of_an_edge() -> None:
    depth = torch.full((1, 6, 8), 2.0)
    depth[..., 4] = 0
    assert not depth_edges(depth, 0.1).any()


def test_points_that_would_float_between_object_and_background_are_dropped() -> None:
    depth = torch.full((1, 1, 8, 8), 2.0)
    depth[..., :4], depth[..., 4] = 1.0, 1.5
    cameras = Cameras.from_fov(torch.eye(4)[None], 90.0, (8, 8))
    cloud = points_from_depth(torch.rand(1, 3, 8, 8), depth, cameras)
    assert set(cloud.points[:, 2].tolist()) == {1.0, 2.0}


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 2**31), st.floats(0.05, 3))
def test_each_occupied_voxel_keeps_the_mean_of_its_points(count, seed, voxel) -> None:
    torch.manual_seed(seed)
    points, colors = torch.randn(count, 3, dtype=torch.float64), torch.rand(count, 3, dtype=torch.float64)
    cells: dict[tuple[int, ...], list[int]] = {}
    for i, cell in enumerate((points / voxel).floor().long().tolist()):
        cells.setdefault(tuple(cell), []).append(i)
    small = voxel_downsample(PointCloud(points, colors), voxel)
    assert len(small) == len(cells)
    for place, key in enumerate(sorted(cells)):
        assert torch.allclose(small.points[place], points[cells[key]].mean(0))
        assert torch.allclose(small.colors[place], colors[cells[key]].mean(0))


def test_normals_go_with_their_points_and_are_averaged_to_unit_length() -> None:
    points = torch.tensor([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [1.5, 0.5, 0.5]])
    cloud = PointCloud(points, points, torch.eye(3))
    some = cloud[torch.tensor([False, True, True])]
    assert some.normals is not None and torch.equal(some.normals, torch.eye(3)[1:])
    assert cloud[:0].normals is not None and PointCloud(points, points)[:2].normals is None
    small = voxel_downsample(cloud, 1.0)
    half = math.sqrt(0.5)
    assert small.normals is not None
    assert torch.allclose(small.normals, torch.tensor([[half, half, 0.0], [0.0, 0.0, 1.0]]))


def test_impossible_clouds_are_refused(refused, unchecked) -> None:
    cloud = PointCloud(torch.rand(4, 3), torch.rand(4, 3))
    for voxel in (0.0, -1.0, math.nan):
        with refused("voxel"):
            voxel_downsample(cloud, voxel)
    with refused("too small"):
        voxel_downsample(PointCloud(1e9 * torch.rand(4, 3), cloud.colors), 1e-9)
    with refused("NaN"):
        voxel_downsample(PointCloud(torch.full((4, 3), math.nan), cloud.colors), 1.0)
    with refused("(3, 3)"):
        PointCloud(torch.rand(4, 3), torch.rand(3, 3))
    with refused("normals (4, 2)"):
        PointCloud(torch.rand(4, 3), torch.rand(4, 3), torch.rand(4, 2))
    scene = sphere_scene(frames=1)
    with refused("points from depth"):
        points_from_depth(scene.rgb, scene.depth[:2], scene.cameras)


def test_colors_that_are_integers_or_not_finite_are_refused_everywhere() -> None:
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 1), 50.0, (12, 12))
    depth, rgb = torch.full((1, 1, 12, 12), 2.0), torch.rand(1, 3, 12, 12)
    calls = (points_from_depth, lambda a, b, c: forward_warp(a, b, c, cameras), lambda a, b, c: fuse_tsdf(a, b, c, 0.1))
    for bad, words in (((rgb * 255).int(), "int32"), (rgb * torch.nan, "NaN")):
        for call in calls:
            with pytest.raises(InputError, match=words):
                call(bad, depth, cameras)


def test_a_cloud_is_a_sequence_of_points() -> None:
    cloud = PointCloud(torch.rand(4, 3), torch.rand(4, 3))
    assert len(cloud) == 4
    assert all(torch.equal(cloud[i].points, points[None]) for i, points in enumerate(cloud.points))
    assert len([one.points for one in cloud]) == 4  # pyright: ignore[reportGeneralTypeIssues]  # by __getitem__
    assert torch.equal(cloud[-1].points, cloud.points[3:])


@pytest.mark.parametrize("unit", [0.001, 1.0, 1000.0])
def test_edges_do_not_depend_on_the_unit_of_length(unit: float) -> None:
    depth = torch.full((1, 6, 8), 2.0)
    depth[..., 3:6] = 2.3  # its inverse depth bends by 0.15 at the near side
    assert torch.equal(depth_edges(unit * depth, 0.1), depth_edges(depth, 0.1))
    assert depth_edges(unit * depth, 0.1).sum() == 6 * 4 and not depth_edges(unit * depth, 0.2).any()
