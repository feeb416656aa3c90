"""Meshes, point clouds and cameras to and from trimesh."""

import numpy as np
import torch
import trimesh
from PIL import Image
from trimesh.scene.cameras import camera_to_rays
from trimesh.visual import TextureVisuals

from geometry.camera.cameras import Cameras
from geometry.camera.rays import ray_map
from geometry.interop.trimesh import (
    from_trimesh_cameras,
    from_trimesh_mesh,
    from_trimesh_points,
    to_trimesh_cameras,
    to_trimesh_mesh,
    to_trimesh_points,
)
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from geometry.trajectory.paths import orbit
from tests.geometry.mesh.test_rasterizing import around, soup


def plain(count: int) -> Cameras:
    cameras = Cameras.from_fov(orbit(torch.zeros(3, dtype=torch.float64), 3.0, 20.0, count), 50.0, (6, 9))
    cameras.K[:, 1, 1] *= 1.25
    return cameras


def test_its_cameras_rays_are_ours() -> None:
    cameras = plain(4)
    origins, directions = ray_map(cameras)
    for i, (camera, pose) in enumerate(to_trimesh_cameras(cameras.reshape(2, 2))):
        rays, pixels = camera_to_rays(camera)
        column, row = pixels.T
        ours = directions[i, 5 - row, column]  # its rows count from the bottom
        assert np.allclose(rays @ pose[:3, :3].T, ours.numpy(), atol=1e-12)
        assert np.allclose(pose[:3, 3], origins[i, 0, 0].numpy())


def test_cameras_come_back_also_through_a_scene(refused) -> None:
    cameras = plain(4)
    pairs = to_trimesh_cameras(cameras)
    back = from_trimesh_cameras(pairs)
    assert back.hw == cameras.hw and torch.allclose(back.K, cameras.K, atol=1e-12)
    assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-12)
    scene = trimesh.Scene(camera=pairs[1][0], camera_transform=pairs[1][1])
    one = from_trimesh_cameras([(scene.camera, scene.camera_transform)])
    assert torch.allclose(one.world_from_camera, cameras.world_from_camera[1:2], atol=1e-12)
    off = around(3.0)
    with refused("trimesh", "skewed"):
        to_trimesh_cameras(off)
    off.K[:, 0, 1] = 0
    with refused("trimesh", "principal point"):
        to_trimesh_cameras(off)
    with refused("one size"):
        from_trimesh_cameras([])


def test_meshes_come_back_and_colors_to_a_byte() -> None:
    mesh = soup(7, 2)
    back = from_trimesh_mesh(to_trimesh_mesh(mesh))
    assert mesh.colors is not None and back.colors is not None
    assert torch.equal(back.vertices, mesh.vertices) and torch.equal(back.faces, mesh.faces)
    assert (back.colors - mesh.colors).abs().max() <= 0.5 / 255 + 1e-9
    again = from_trimesh_mesh(to_trimesh_mesh(back))
    assert again.colors is not None and torch.equal(again.colors, back.colors)
    assert from_trimesh_mesh(to_trimesh_mesh(Mesh(mesh.vertices, mesh.faces))).colors is None


def test_colors_of_faces_and_textures_become_their_vertices() -> None:
    corners, face = np.eye(3), [[0, 1, 2]]
    faced = from_trimesh_mesh(trimesh.Trimesh(corners, face, face_colors=[[255, 0, 51, 255]], process=False))
    assert faced.colors is not None
    assert torch.allclose(faced.colors, torch.tensor([1.0, 0.0, 0.2], dtype=torch.float64).expand(3, 3))
    image = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8))
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])  # of the first row left and right, the last row left
    visual = TextureVisuals(uv=uv, image=image)
    textured = from_trimesh_mesh(trimesh.Trimesh(corners, face, visual=visual, process=False))
    assert textured.colors is not None and torch.equal(textured.colors, torch.eye(3, dtype=torch.float64))


def test_points_come_back_and_are_gray_without_colors() -> None:
    mesh = soup(4, 1)
    assert mesh.colors is not None
    back = from_trimesh_points(to_trimesh_points(PointCloud(mesh.vertices, mesh.colors)))
    assert torch.equal(back.points, mesh.vertices) and (back.colors - mesh.colors).abs().max() <= 0.5 / 255 + 1e-9
    bare = from_trimesh_points(trimesh.PointCloud(mesh.vertices.numpy()))
    assert torch.equal(bare.points, mesh.vertices) and bool((bare.colors == 0.7).all())
