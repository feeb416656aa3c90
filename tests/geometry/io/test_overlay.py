"""Files of one scene fit together in other programs: mesh, points and cameras, in axes, scale and colors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project
from geometry.conventions import world_from_gltf
from geometry.interop.trimesh import from_trimesh_mesh, from_trimesh_points, to_trimesh_mesh
from geometry.io.assets.gltf import write_glb
from geometry.io.assets.obj import write_obj
from geometry.io.assets.ply import write_ply
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import write_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from geometry.trajectory.paths import orbit
from tests.geometry.io.assets.test_gltf import card, color_bars, house


def exported(folder: Path) -> tuple[Mesh, Cameras]:
    """A colored wedge as PLY, GLB, OBJ (y up and z up) and points, and cameras around it as transforms.json."""
    mesh = house()
    assert mesh.colors is not None
    write_ply(folder / "mesh.ply", mesh)
    write_ply(folder / "points.ply", PointCloud(mesh.vertices, mesh.colors))
    write_glb(folder / "mesh.glb", mesh)
    write_obj(folder / "mesh.obj", mesh)
    write_obj(folder / "z_up.obj", mesh, up="z")
    cameras = Cameras.from_fov(orbit(mesh.vertices.double().mean(0), 9.0, 20.0, 5), 50.0, (40, 60))
    names = [f"images/{n}.png" for n in range(5)]
    for name in names:
        write_png(folder / name, torch.rand(3, 40, 60))
    write_transforms(folder / "transforms.json", cameras, names)
    return mesh, cameras


UP = {"mesh.ply": "z", "mesh.glb": "y", "mesh.obj": "y", "z_up.obj": "z"}


@pytest.mark.parametrize("name", UP)
def test_trimesh_has_the_same_mesh_of_every_file_once_it_is_upright(tmp_path: Path, name: str) -> None:
    mesh, _ = exported(tmp_path)
    loaded: Any = trimesh.load(tmp_path / name, process=False, maintain_order=True)
    if isinstance(loaded, trimesh.Scene):  # as one mesh, trimesh drops vertex colors
        (loaded,) = loaded.geometry.values()
    assert loaded.bounds[:, 2 if UP[name] == "z" else 1].tolist() == pytest.approx([0.1, 3.1])  # 3 metres high
    found = from_trimesh_mesh(loaded, UP[name])
    assert torch.allclose(found.vertices, mesh.vertices.double(), atol=1e-6)
    assert torch.equal(found.faces, mesh.faces)
    assert mesh.colors is not None and found.colors is not None
    assert (found.colors - mesh.colors).abs().max() < 1.01 / 255


def test_points_lie_on_the_mesh_and_cameras_of_nerfstudio_see_them_where_ours_do(tmp_path: Path) -> None:
    mesh, cameras = exported(tmp_path)
    cloud: Any = trimesh.load(tmp_path / "points.ply")
    found = from_trimesh_points(cloud)
    assert torch.allclose(found.points, mesh.vertices.double(), atol=1e-6)
    meta = json.loads((tmp_path / "transforms.json").read_text())
    expected, _ = project(cameras.to(torch.float64), found.points.expand(5, -1, -1))
    for n, frame in enumerate(meta["frames"]):
        back = np.linalg.inv(np.array(frame["transform_matrix"]))  # OpenGL: x right, y up, looks along -z
        x, y, z = back[:3, :3] @ found.points.numpy().T + back[:3, 3:]
        lens = meta | frame
        u = lens["fl_x"] * x / -z + lens["cx"]
        v = lens["fl_y"] * -y / -z + lens["cy"]
        assert np.allclose(np.stack([u, v], -1), expected[n].numpy(), atol=1e-3)


def test_a_mesh_that_is_y_up_stands_and_other_directions_are_refused(refused) -> None:
    tall = trimesh.creation.box((1, 5, 1))
    found = from_trimesh_mesh(tall, up="y")
    assert (found.vertices.amax(0) - found.vertices.amin(0)).tolist() == [1, 1, 5]
    assert float(from_trimesh_mesh(tall).vertices[:, 1].max()) == 2.5  # z up is as it is
    points = from_trimesh_points(trimesh.PointCloud([[1.0, 2, 3]]), up="y").points
    assert torch.equal(points, world_from_gltf(torch.tensor([[1.0, 2, 3]]).double()))
    with refused("'x'"):
        from_trimesh_mesh(tall, up="x")


def test_a_textured_mesh_keeps_its_texture_in_trimesh_and_from_there_in_a_glb(tmp_path: Path) -> None:
    from geometry.io.assets.gltf_reader import read_glb

    square = card(color_bars())
    made = to_trimesh_mesh(square)
    assert np.array_equal(made.faces, square.mesh.faces.numpy())
    made.export(tmp_path / "a.glb")
    found = read_glb(tmp_path / "a.glb")
    assert isinstance(found, TexturedMesh) and torch.allclose(found.texture, square.texture, atol=1e-6)
    assert torch.allclose(found.uv[found.mesh.faces], square.uv[square.mesh.faces], atol=1e-6)
    assert torch.allclose(
        found.mesh.vertices[found.mesh.faces], world_from_gltf(square.mesh.vertices[square.mesh.faces])
    )


def test_open3d_has_the_same_mesh_and_points(tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    mesh, _ = exported(tmp_path)
    assert mesh.colors is not None
    for name in ("mesh.ply", "z_up.obj"):
        found = o3d.io.read_triangle_mesh(str(tmp_path / name))
        corners = np.asarray(found.triangles)  # it changes the order of an OBJ's vertices
        assert np.allclose(np.asarray(found.vertices)[corners], mesh.vertices[mesh.faces].numpy(), atol=1e-6)
        assert np.abs(np.asarray(found.vertex_colors)[corners] - mesh.colors[mesh.faces].numpy()).max() < 1.01 / 255
    turned = o3d.io.read_triangle_mesh(str(tmp_path / "mesh.glb"))
    corners = torch.from_numpy(np.asarray(turned.vertices)[np.asarray(turned.triangles)])
    assert torch.allclose(world_from_gltf(corners), mesh.vertices[mesh.faces].double(), atol=1e-6)
    cloud = o3d.io.read_point_cloud(str(tmp_path / "points.ply"))
    assert np.allclose(np.asarray(cloud.points), mesh.vertices.numpy(), atol=1e-6)
