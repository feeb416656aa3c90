"""Values to and from Open3D, and Open3D as a second opinion on fusion and rasterizing."""

import importlib
import sys
from typing import Any

import numpy as np
import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.interop.open3d import (
    from_open3d_cameras,
    from_open3d_mesh,
    from_open3d_points,
    fuse_tsdf_open3d,
    icp_open3d,
    to_open3d_cameras,
    to_open3d_mesh,
    to_open3d_points,
)
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import rasterize
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.neighbors import cloud_distance, estimate_normals, radius_outliers, statistical_outliers
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import rigid, rotation_about, transform_points
from tests.geometry.mesh.test_rasterizing import around, soup
from tests.geometry.spheres import sphere_scene


@pytest.fixture
def open3d() -> Any:
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"Open3D cannot be loaded: {error}")


def unskewed(count: int = 3) -> Cameras:
    cameras = around(5.0, count)
    cameras.K[:, 0, 1] = 0
    return cameras


@pytest.mark.parametrize("voxel", [0.1, 0.06])
def test_our_fusion_and_open3ds_agree_within_a_twentieth_of_a_voxel(open3d, voxel) -> None:
    scene = sphere_scene()
    ours = fuse_tsdf(scene.rgb, scene.depth, scene.cameras, voxel)
    theirs = fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, voxel)
    assert cloud_distance(ours.vertices, theirs.vertices).chamfer < voxel / 20
    assert abs(len(ours.faces) - len(theirs.faces)) <= 0.01 * len(ours.faces)
    bounds = torch.stack([scene.center - torch.tensor([1.0, 1.0, 0.0]), scene.center + 1.0])
    upper = fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, voxel, bounds=bounds)
    assert bool((upper.vertices[:, 2] >= scene.center[2]).all()) and len(upper.faces) > len(theirs.faces) / 3


def test_without_open3d_one_line_says_how_to_get_it(monkeypatch, refused) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    scene = sphere_scene(frames=1)
    cloud = PointCloud(scene.center[None], scene.center[None])
    for ask in (
        lambda: fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, 0.1),
        lambda: icp_open3d(cloud, cloud, 0.1),
    ):
        with refused("pip install 'worldgen[open3d]'", "libusb-1.0-0 libgl1 libegl1 libx11-6"):
            ask()


@pytest.mark.parametrize("pixel_center", [0.0, 0.5])
def test_cameras_come_back(open3d, refused, pixel_center) -> None:
    cameras = unskewed(6)
    back = from_open3d_cameras(to_open3d_cameras(cameras.reshape(2, 3), pixel_center), pixel_center)
    assert back.hw == cameras.hw and torch.allclose(back.K, cameras.K, atol=1e-12)
    assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-12)
    with refused("Open3D's cameras", "skewed"):
        to_open3d_cameras(around(5.0))
    with refused("one size"):
        from_open3d_cameras([])


def test_its_rays_meet_what_ours_show_in_the_same_pixels(open3d) -> None:
    mesh, cameras = soup(40, 1), unskewed()
    raster, core = rasterize(mesh, cameras), open3d.core
    scene = open3d.t.geometry.RaycastingScene()
    legacy = to_open3d_mesh(mesh)
    scene.add_triangles(open3d.t.geometry.TriangleMesh.from_legacy(legacy))
    for i, camera in enumerate(to_open3d_cameras(cameras)):
        rays = scene.create_rays_pinhole(
            core.Tensor(camera.intrinsic.intrinsic_matrix), core.Tensor(camera.extrinsic), 32, 24
        )
        hits = scene.cast_rays(rays)
        face = hits["primitive_ids"].numpy().astype(np.int64)
        ours = raster.face[i, 0].numpy()
        face[face == int(scene.INVALID_ID)] = -1
        assert (face == ours).mean() > 0.997
        both = (face == ours) & (face >= 0)
        assert np.abs(hits["t_hit"].numpy()[both] - raster.depth[i, 0].numpy()[both]).max() < 1e-4


def test_its_points_from_depth_are_ours(open3d) -> None:
    cameras = unskewed(1)
    depth = 1 + torch.rand(1, 1, *cameras.hw, dtype=torch.float64)
    (camera,) = to_open3d_cameras(cameras, pixel_center=0.0)
    image = open3d.geometry.Image(depth[0, 0].float().numpy())
    found = open3d.geometry.PointCloud.create_from_depth_image(
        image, camera.intrinsic, camera.extrinsic, depth_scale=1.0, depth_trunc=100.0
    )
    assert torch.allclose(from_open3d_points(found).points, unproject(cameras, depth).reshape(-1, 3), atol=1e-6)


def test_meshes_and_points_come_back_with_and_without_colors(open3d) -> None:
    mesh = soup(7, 2)
    back = from_open3d_mesh(to_open3d_mesh(mesh))
    assert mesh.colors is not None and back.colors is not None
    assert torch.equal(back.vertices, mesh.vertices) and torch.equal(back.faces, mesh.faces)
    assert torch.equal(back.colors, mesh.colors)
    assert from_open3d_mesh(to_open3d_mesh(Mesh(mesh.vertices, mesh.faces))).colors is None
    cloud = from_open3d_points(to_open3d_points(PointCloud(mesh.vertices, mesh.colors)))
    assert torch.equal(cloud.points, mesh.vertices) and torch.equal(cloud.colors, mesh.colors)
    assert cloud.normals is None
    normals = torch.nn.functional.normalize(mesh.vertices, dim=-1)
    back = from_open3d_points(to_open3d_points(PointCloud(mesh.vertices, mesh.colors, normals)))
    assert back.normals is not None and torch.equal(back.normals, normals)
    bare = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(mesh.vertices.numpy()))
    assert bool((from_open3d_points(bare).colors == 0.7).all())


def wavy(count: int, seed: int) -> torch.Tensor:
    """Points on a surface that fits onto itself in one way only."""
    torch.manual_seed(seed)
    x, y = torch.rand(2, count, dtype=torch.float64) * 4
    return torch.stack([x, y, 0.3 * (2 * x).sin() + 0.2 * (3 * y).cos() + 0.1 * x * y], -1)


@pytest.mark.parametrize("to_planes", [False, True])
def test_icp_finds_the_motion_between_two_samples_of_a_surface(open3d, to_planes) -> None:
    source, target = wavy(3000, 1), wavy(6000, 2)
    axis, angle = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor(0.05).double()
    motion = rigid(rotation_about(axis, angle), torch.tensor([0.05, -0.04, 0.06]).double())
    moved = transform_points(motion, target)
    onto = estimate_normals(PointCloud(moved, torch.rand(6000, 3).double()), torch.tensor([2.0, 2.0, 9.0]).double())
    found = icp_open3d(PointCloud(source, source), onto, 0.3, to_planes=to_planes)
    error = transform_points(found.target_from_source, source) - transform_points(motion, source)
    assert error.norm(dim=-1).max() < (0.003 if to_planes else 0.02)
    assert found.fitness > 0.98
    distance = cloud_distance(transform_points(found.target_from_source, source), moved).to_reference
    within = distance[distance < 0.3]
    assert found.fitness == pytest.approx(len(within) / len(source))
    assert found.rmse_m == pytest.approx(float(within.square().mean().sqrt()), rel=1e-3)
    started = icp_open3d(PointCloud(source, source), onto, 0.3, motion, to_planes, iterations=0)
    assert torch.allclose(started.target_from_source, motion)


def test_icp_without_points_or_the_normals_it_needs_is_refused(open3d, refused) -> None:
    cloud = PointCloud(wavy(5, 0), wavy(5, 0))
    with refused("0 onto 5 points"):
        icp_open3d(cloud[:0], cloud, 0.1)
    with refused("-1.0 m"):
        icp_open3d(cloud, cloud, -1.0)
    with refused("without normals"):
        icp_open3d(cloud, cloud, 0.1, to_planes=True)


def test_its_outliers_are_ours_though_it_counts_the_point_itself(open3d) -> None:
    points = torch.randn(500, 3, dtype=torch.float64)
    legacy = to_open3d_points(PointCloud(points, points.sigmoid()))
    for kept, outliers in (
        (legacy.remove_statistical_outlier(9, 1.5)[1], statistical_outliers(points, 8, 1.5)),
        (legacy.remove_radius_outlier(4, 0.5)[1], radius_outliers(points, 0.5, 4)),
    ):
        assert 5 < outliers.sum() < 400
        assert torch.equal((~outliers).nonzero()[:, 0], torch.tensor(np.asarray(kept)).sort().values)


def test_its_normals_are_ours_but_for_their_sign(open3d) -> None:
    cloud = PointCloud(wavy(800, 3), wavy(800, 3))
    legacy = to_open3d_points(cloud)
    legacy.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(13))
    ours = estimate_normals(cloud, torch.zeros(3).double(), 12).normals
    theirs = from_open3d_points(legacy).normals
    assert ours is not None and theirs is not None
    assert ((ours * theirs).sum(-1).abs() > 1 - 1e-9).double().mean() > 0.995
