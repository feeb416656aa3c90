"""PLY as other programs write it: what is read, what is told, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from geometry.errors import Note
from geometry.io.assets.ply import read_ply, write_ply
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY, PointCloud
from tests.geometry.io.assets.test_gltf import card, color_bars

XYZ = "".join(f"property float {axis}\n" for axis in "xyz")
FACE = "element face 1\nproperty list uchar int vertex_indices\n"
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


def ascii_ply(folder: Path, head: str, body: str) -> Path:
    (folder / "a.ply").write_text(f"ply\nformat ascii 1.0\n{head}end_header\n{body}")
    return folder / "a.ply"


def one_point(folder: Path, kind: str, names: str, values: str) -> Path:
    colors = "".join(f"property {kind} {name}\n" for name in names.split())
    return ascii_ply(folder, "element vertex 1\n" + XYZ + colors, f"0 0 0 {values}\n")


SAME_COLOR = {
    "8 bits": ("uchar", "red green blue", "255 128 0", None),
    "8 bits with opacity": ("uchar", "red green blue alpha", "255 128 0 255", None),
    "16 bits": ("ushort", "red green blue", "65535 32768 0", None),
    "32 bits": ("uint", "red green blue", "4294967295 2147483648 0", None),
    "signed": ("short", "red green blue", "32767 16384 0", None),
    "floats": ("float", "red green blue", "1 0.5 0", None),
    "doubles": ("double", "red green blue", "1 0.5 0", None),
    "rounded floats": ("float", "red green blue", "1.00001 0.5 -0.00001", None),
    "floats to 255": ("float", "red green blue", "255 128 0", "8 bits"),
    "bytes in 32 bits": ("int", "red green blue", "255 128 0", "8 bits"),
    "r g b": ("uchar", "r g b", "255 128 0", None),
    "diffuse": ("uchar", "diffuse_red diffuse_green diffuse_blue", "255 128 0", None),
}


@pytest.mark.parametrize("what", SAME_COLOR)
def test_one_color_in_every_usual_form(tmp_path: Path, what: str) -> None:
    kind, names, values, told = SAME_COLOR[what]
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        found = read_ply(one_point(tmp_path, kind, names, values))
    assert isinstance(found, PointCloud) and found.colors.dtype == torch.float32
    assert (found.colors - torch.tensor([[1, 0.5, 0]])).abs().max() < 0.003
    assert [told in str(entry.message) for entry in notes] == ([True] if told else [])


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("float", "300 1 0", ("300", "0..255")),
        ("float", "1.5 0.5 0", ("1.5", "0..1")),
        ("float", "0.5 -0.5 0", ("-0.5",)),
        ("short", "-5 5 0", ("-5",)),
        ("uchar", "300 5 0", ("300", "u1")),
        ("uchar", "0.5 0 0", ("0.5", "u1")),
    ],
)
def test_colors_in_no_known_range_are_refused(tmp_path: Path, refused, kind: str, values: str, words: tuple) -> None:
    with refused(tmp_path / "a.ply", *words):
        read_ply(one_point(tmp_path, kind, "red green blue", values))


LEFT_OUT = {
    "another name of a color": ("property uchar spec_red\n", " 9", "spec_red"),
    "intensity": ("property float intensity\n", " 0.5", "intensity"),
    "opacity below 1": ("property uchar alpha\n", " 128", "alpha"),
    "a list of a vertex": ("property list uchar int seen_by\n", " 2 5 6", "seen_by"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_properties_that_carry_meaning_are_named_in_a_note(tmp_path: Path, what: str) -> None:
    head, values, word = LEFT_OUT[what]
    path = ascii_ply(tmp_path, "element vertex 2\n" + XYZ + head, f"1 2 3{values}\n4 5 6{values}\n")
    with pytest.warns(Note, match=word):
        found = read_ply(path)
    assert isinstance(found, PointCloud) and found.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.colors.unique().tolist() == [pytest.approx(GRAY)]


@pytest.mark.parametrize(
    ("head", "body", "word"),
    [
        ("property list uchar float texcoord\n", " 6 0 0 1 0 1 1", "texcoord of faces"),
        ("property uchar red\n", " 9", "red of faces"),
        ("element edge 1\nproperty int vertex1\nproperty int vertex2\n", "\n0 1", "1 x edge"),
    ],
)
def test_what_faces_and_other_elements_hold_is_named(tmp_path: Path, head: str, body: str, word: str) -> None:
    with pytest.warns(Note, match=word):
        mesh = read_ply(ascii_ply(tmp_path, f"element vertex 4\n{XYZ}{FACE}{head}", f"{SQUARE}3 0 1 2{body}\n"))
    assert isinstance(mesh, Mesh) and mesh.faces.tolist() == [[0, 1, 2]]


def test_harmless_properties_are_not_worth_a_note(tmp_path: Path) -> None:
    head = "comment made by hand\nobj_info scanner\nelement vertex 1\n" + XYZ + "property float confidence\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_ply(ascii_ply(tmp_path, head + "element face 0\nproperty list uchar int vertex_indices\n", "1 2 3 0.9\n"))


def polygons(order: str, head: str = "") -> bytes:
    """A square, a triangle and a pentagon of 8 vertices, each with a list and a number more."""
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    text = f"ply\nformat {name} 1.0\nelement vertex 8\n{XYZ}element face 3\nproperty list uchar int vertex_indices\n"
    text += "property list ushort float texcoord\nproperty short part\nend_header\n"
    data = np.arange(24).astype(order + "f4").tobytes()
    for n, corners in enumerate(([0, 1, 2, 3], [4, 5, 6], [3, 2, 7, 6, 5])):
        data += bytes([len(corners)]) + np.array(corners, order + "i4").tobytes()
        data += np.array([2 * n], order + "u2").tobytes() + np.ones(2 * n, order + "f4").tobytes()
        data += np.array([7], order + "i2").tobytes()
    return text.encode() + data


FANS = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [3, 2, 7], [3, 7, 6], [3, 6, 5]]


@pytest.mark.parametrize("order", "<>")
def test_polygons_become_fans_and_further_lists_are_skipped(tmp_path: Path, refused, order: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(polygons(order))
    with pytest.warns(Note, match="texcoord of faces, part of faces"):
        mesh = read_ply(path)
    assert isinstance(mesh, Mesh) and mesh.faces.tolist() == FANS
    assert torch.equal(mesh.vertices, torch.arange(24.0).view(8, 3))
    for cut in range(1, 60):
        path.write_bytes(polygons(order)[:-cut])
        with refused(path, "x face"):
            read_ply(path)


def test_polygons_of_text_become_fans_and_edges_alone_are_left_out(tmp_path: Path) -> None:
    head = f"element vertex 4\n{XYZ}" + FACE.replace("face 1", "face 3")
    with pytest.warns(Note, match="1 of 3 faces with fewer than 3 corners"):
        mesh = read_ply(ascii_ply(tmp_path, head, SQUARE + "4 0 1 2 3\n2 0 1\n3 1 2 3\n"))
    assert isinstance(mesh, Mesh) and mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("count", ["1e300", "1e18", "-1", "nan", "inf", "2.5", "99"])
@pytest.mark.parametrize("before", ["", "4 0 1 2 3\n"])  # in the first row, and among rows of several lengths
def test_lists_of_no_possible_length_are_refused(tmp_path: Path, refused, before: str, count: str) -> None:
    faces = 2 if before else 1
    head = f"element vertex 4\n{XYZ}" + FACE.replace("face 1", f"face {faces}")
    with refused(tmp_path / "a.ply", "expected"):
        read_ply(ascii_ply(tmp_path, head, f"{SQUARE}{before}{count} 0 1 2\n"))


@pytest.mark.parametrize("row", ["nan nan nan 0 0 1", "0 0 inf 0 0 1", "0 0 0 nan nan nan"])
def test_points_that_are_not_finite_are_counted_and_dropped_on_request(tmp_path: Path, refused, row: str) -> None:
    head = "element vertex 3\n" + XYZ + "".join(f"property float n{axis}\n" for axis in "xyz")
    path = ascii_ply(tmp_path, head, f"1 2 3 0 0 1\n{row}\n4 5 6 1 0 0\n")
    with refused(path, "1 of 3 points", "drop_nonfinite"):
        read_ply(path)
    with pytest.warns(Note, match="1 of 3 points"):
        cloud = read_ply(path, drop_nonfinite=True)
    assert isinstance(cloud, PointCloud) and cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.normals is not None and cloud.normals.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_faces_at_dropped_vertices_are_dropped(tmp_path: Path) -> None:
    head = f"element vertex 4\n{XYZ}" + FACE.replace("face 1", "face 2")
    path = ascii_ply(tmp_path, head, "nan 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 1 2 3\n")
    with pytest.warns(Note, match="1 of 4 points"):
        mesh = read_ply(path, drop_nonfinite=True)
    assert isinstance(mesh, Mesh) and mesh.faces.tolist() == [[0, 1, 2]] and mesh.vertices[0].tolist() == [1, 0, 0]


def test_a_textured_mesh_keeps_its_colors_at_the_vertices(tmp_path: Path) -> None:
    square = card(color_bars())
    inner = TexturedMesh(square.mesh, 0.0625 + 0.875 * square.uv, square.texture)  # at texels' centers across
    with pytest.warns(Note, match="no textures"):
        write_ply(tmp_path / "a.ply", inner)
    mesh = read_ply(tmp_path / "a.ply")
    assert isinstance(mesh, Mesh) and mesh.colors is not None and torch.equal(mesh.faces, square.mesh.faces)
    white, black = [191 / 255] * 3, [0.0] * 3
    assert torch.allclose(mesh.colors, torch.tensor([white, black, black, white]))
