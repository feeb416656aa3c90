"""Values to and from Open3D, and Open3D as a second opinion on fusion and rasterising."""

import importlib
import sys
from typing import Any

import numpy as np
import pytest
import torch

from geometry.cameras import Cameras
from geometry.interop.open3d import (
    from_open3d_cameras,
    from_open3d_mesh,
    from_open3d_points,
    fuse_tsdf_open3d,
    to_open3d_cameras,
    to_open3d_mesh,
    to_open3d_points,
)
from geometry.meshes import Mesh
from geometry.pointclouds import PointCloud
from geometry.projection import unproject
from geometry.rasterising import rasterise
from geometry.tsdf import fuse_tsdf
from tests.geometry.spheres import sphere_scene
from tests.geometry.test_rasterising import around, soup


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
    distance = torch.cdist(ours.vertices, theirs.vertices)
    chamfer = (distance.amin(0).mean() + distance.amin(1).mean()) / 2
    assert chamfer < voxel / 20
    assert abs(len(ours.faces) - len(theirs.faces)) <= 0.01 * len(ours.faces)
    bounds = torch.stack([scene.centre - torch.tensor([1.0, 1.0, 0.0]), scene.centre + 1.0])
    upper = fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, voxel, bounds=bounds)
    assert bool((upper.vertices[:, 2] >= scene.centre[2]).all()) and len(upper.faces) > len(theirs.faces) / 3


def test_without_open3d_one_line_says_how_to_get_it(monkeypatch, refused) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    scene = sphere_scene(frames=1)
    with refused("pip install 'worldgen[open3d]'", "libusb-1.0-0 libgl1 libegl1 libx11-6"):
        fuse_tsdf_open3d(scene.rgb, scene.depth, scene.cameras, 0.1)


@pytest.mark.parametrize("pixel_centre", [0.0, 0.5])
def test_cameras_come_back(open3d, refused, pixel_centre) -> None:
    cameras = unskewed(6)
    back = from_open3d_cameras(to_open3d_cameras(cameras.reshape(2, 3), pixel_centre), pixel_centre)
    assert back.hw == cameras.hw and torch.allclose(back.K, cameras.K, atol=1e-12)
    assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-12)
    with refused("Open3D's cameras", "skewed"):
        to_open3d_cameras(around(5.0))
    with refused("one size"):
        from_open3d_cameras([])


def test_its_rays_meet_what_ours_show_in_the_same_pixels(open3d) -> None:
    mesh, cameras = soup(40, 1), unskewed()
    raster, core = rasterise(mesh, cameras), open3d.core
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
    (camera,) = to_open3d_cameras(cameras, pixel_centre=0.0)
    image = open3d.geometry.Image(depth[0, 0].float().numpy())
    found = open3d.geometry.PointCloud.create_from_depth_image(
        image, camera.intrinsic, camera.extrinsic, depth_scale=1.0, depth_trunc=100.0
    )
    assert torch.allclose(from_open3d_points(found).points, unproject(cameras, depth).reshape(-1, 3), atol=1e-6)


def test_meshes_and_points_come_back_with_and_without_colours(open3d) -> None:
    mesh = soup(7, 2)
    back = from_open3d_mesh(to_open3d_mesh(mesh))
    assert mesh.colours is not None and back.colours is not None
    assert torch.equal(back.vertices, mesh.vertices) and torch.equal(back.faces, mesh.faces)
    assert torch.equal(back.colours, mesh.colours)
    assert from_open3d_mesh(to_open3d_mesh(Mesh(mesh.vertices, mesh.faces))).colours is None
    cloud = from_open3d_points(to_open3d_points(PointCloud(mesh.vertices, mesh.colours)))
    assert torch.equal(cloud.points, mesh.vertices) and torch.equal(cloud.colours, mesh.colours)
    bare = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(mesh.vertices.numpy()))
    assert bool((from_open3d_points(bare).colours == 0.7).all())
