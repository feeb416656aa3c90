"""PLY in and out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from trimesh.visual import ColorVisuals

from geometry.io.assets.ply import read_ply, write_ply
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud

FIRST = np.array([0, 0, 1], np.float32)  # a corner of the tetrahedron


def cloud(count: int = 20) -> PointCloud:
    return PointCloud(torch.randn(count, 3), torch.randint(0, 256, (count, 3)).float() / 255)


def tetrahedron() -> Mesh:
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    return Mesh(torch.cat([torch.zeros(1, 3), torch.eye(3)]), faces, torch.rand(4, 3).mul(255).round() / 255)


def test_a_point_cloud_survives_exactly(tmp_path) -> None:
    before = cloud()
    write_ply(tmp_path / "a.ply", before, comments=("scale metric",))
    after = read_ply(tmp_path / "a.ply")
    assert isinstance(after, PointCloud)
    assert torch.equal(after.points, before.points) and torch.equal(after.colors, before.colors)
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0]
    assert b"comment generator worldgen\n" in header and b"comment scale metric\n" in header


def test_normals_survive_exactly_and_others_read_them(tmp_path) -> None:
    normals = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1)
    write_ply(tmp_path / "a.ply", replace(cloud(), normals=normals))
    after = read_ply(tmp_path / "a.ply")
    assert isinstance(after, PointCloud) and after.normals is not None and torch.equal(after.normals, normals)
    data = trimesh.load(tmp_path / "a.ply").metadata["_ply_raw"]["vertex"]["data"]
    assert np.array_equal(np.stack([data[name] for name in ("nx", "ny", "nz")], -1).reshape(20, 3), normals.numpy())


def test_colors_are_rounded_to_the_nearest_byte(tmp_path) -> None:
    before = PointCloud(torch.zeros(99, 3), torch.rand(99, 3))
    write_ply(tmp_path / "a.ply", before)
    after = read_ply(tmp_path / "a.ply")
    assert after.colors is not None
    assert (after.colors - before.colors).abs().max() <= 0.5001 / 255


@pytest.mark.parametrize("colored", [True, False])
def test_a_mesh_survives_exactly(tmp_path, colored) -> None:
    before = tetrahedron()
    before = before if colored else Mesh(before.vertices, before.faces)
    write_ply(tmp_path / "a.ply", before)
    after = read_ply(tmp_path / "a.ply")
    assert isinstance(after, Mesh)
    assert torch.equal(after.vertices, before.vertices) and torch.equal(after.faces, before.faces)
    if before.colors is None:
        assert after.colors is None
    else:
        assert after.colors is not None and torch.equal(after.colors, before.colors)


def test_trimesh_reads_the_same_mesh_and_cloud(tmp_path) -> None:
    mesh, points = tetrahedron(), cloud()
    write_ply(tmp_path / "mesh.ply", mesh)
    write_ply(tmp_path / "points.ply", points)
    read = trimesh.load_mesh(tmp_path / "mesh.ply", process=False)
    assert np.array_equal(read.vertices.astype(np.float32), mesh.vertices.numpy())
    assert np.array_equal(read.faces, mesh.faces.numpy()) and read.is_watertight and read.volume > 0
    assert mesh.colors is not None
    assert isinstance(read.visual, ColorVisuals)
    assert np.array_equal(read.visual.vertex_colors[:, :3], (mesh.colors * 255).round().numpy())
    read = trimesh.load(tmp_path / "points.ply")
    assert isinstance(read, trimesh.PointCloud)
    assert np.array_equal(read.vertices.astype(np.float32), points.points.numpy())
    assert np.array_equal(read.colors[:, :3], (points.colors * 255).round().numpy())


def test_an_empty_cloud_is_a_valid_file(tmp_path) -> None:
    write_ply(tmp_path / "a.ply", PointCloud(torch.zeros(0, 3), torch.zeros(0, 3)))
    after = read_ply(tmp_path / "a.ply")
    assert isinstance(after, PointCloud) and len(after) == 0


def test_others_files_are_read(shared) -> None:
    garden = read_ply(shared / "data/garden_points/points.ply")
    assert isinstance(garden, PointCloud) and len(garden) == 138_766
    assert 0 < float(garden.colors.min(0).values.min()) + float(garden.colors.mean()) < 1
    bunny = read_ply(shared / "data/meshes/bunny.ply")  # ASCII with further properties
    assert isinstance(bunny, Mesh) and bunny.faces.shape == (16301, 3)
    expected = trimesh.load_mesh(shared / "data/meshes/bunny.ply", process=False)
    assert np.allclose(bunny.vertices.numpy(), expected.vertices, atol=1e-6)
    assert np.array_equal(bunny.faces.numpy(), expected.faces)


@pytest.mark.parametrize("order", ["<", ">"])
def test_doubles_of_either_byte_order_and_lists_of_other_types_are_read(tmp_path, order) -> None:
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = f"ply\nformat {name} 1.0\nelement vertex 3\nproperty short tag\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += "element face 1\nproperty list int ushort vertex_index\nend_header\n"
    xyz = torch.randn(3, 3, dtype=torch.float64)
    vertices = np.zeros(3, [("tag", order + "i2"), ("xyz", order + "f8", 3)])
    vertices["xyz"] = xyz.numpy()
    faces = np.array([(3, (0, 1, 2))], [("count", order + "i4"), ("list", order + "u2", 3)])
    (tmp_path / "a.ply").write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())
    mesh = read_ply(tmp_path / "a.ply")
    assert isinstance(mesh, Mesh)
    assert torch.equal(mesh.vertices, xyz) and mesh.faces.tolist() == [[0, 1, 2]]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"plaything", "no PLY header"),
        (lambda data: data[:40], "no PLY header"),
        (lambda data: data[:-1], "expected"),
        (lambda data: replaced(data, b"vertex 4", b"vertex 5"), "expected"),
        (lambda data: replaced(data, b"face 4", b"face 99999999999"), "x face"),
        (lambda data: replaced(data, b"vertex 4", b"vertex -4"), "vertex -4"),
        (lambda data: replaced(data, b"property float x", b"property float q"), "x, y and z"),
        (lambda data: replaced(data, b"property float y", b"property float x"), "repeated"),
        (lambda data: replaced(data, b"property float x", b"property quad x"), "property quad x"),
        (lambda data: replaced(data, b"1.0\n", b"9.0\n"), "format"),
        (lambda data: data[:-1] + b"\x7f", "vertices 0 to"),
        (lambda data: data[:-13] + b"\4" + data[-12:], "expected at least"),
        (lambda data: replaced(data, FIRST.tobytes(), (FIRST * np.float32(np.nan)).tobytes()), "NaN"),
    ],
)
def test_files_that_are_no_whole_ply_are_refused(tmp_path, refused, harm, word) -> None:
    path = tmp_path / "a.ply"
    mesh = tetrahedron()
    write_ply(path, Mesh(mesh.vertices, mesh.faces))
    path.write_bytes(harm(path.read_bytes()))
    with refused(path, word):
        read_ply(path)


@pytest.mark.parametrize(
    ("body", "word"),
    [("1 2", "2 numbers"), ("1 2 x", "not numbers"), ("1 2 nan", "NaN")],
)
def test_broken_ascii_files_are_refused(tmp_path, refused, body, word) -> None:
    header = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "a.ply").write_text(header + body + "\n")
    with refused("a.ply", word):
        read_ply(tmp_path / "a.ply")


def test_what_the_format_cannot_hold_is_not_written(tmp_path, refused) -> None:
    path = tmp_path / "a.ply"
    with refused("NaN"):
        write_ply(path, PointCloud(torch.full((2, 3), torch.nan), torch.zeros(2, 3)))
    for comment in ("two\nlines", "é"):
        with refused("one line of ASCII"):
            write_ply(path, cloud(), (comment,))
    assert not path.exists()
