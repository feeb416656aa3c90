"""OBJ in and out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from trimesh.visual import ColorVisuals

from geometry.conventions import gltf_from_world, world_from_gltf
from geometry.errors import Note
from geometry.io.assets.obj import read_obj, write_obj
from geometry.mesh.meshes import Mesh, TexturedMesh
from tests.geometry.io.assets.test_gltf import card, color_bars, house


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_colored_mesh_and_a_textured_one_come_back(tmp_path, up) -> None:
    write_obj(tmp_path / "a.obj", house(), up)
    mesh = read_obj(tmp_path / "a.obj", up)
    assert isinstance(mesh, Mesh) and mesh.colors is not None
    assert torch.equal(mesh.vertices, house().vertices) and torch.equal(mesh.faces, house().faces)
    assert (mesh.colors - torch.linspace(0, 1, 18).view(6, 3)).abs().max() == 0  # `house`'s
    write_obj(tmp_path / "b.obj", card(color_bars()), up)
    textured = read_obj(tmp_path / "b.obj", up)
    assert isinstance(textured, TexturedMesh) and torch.equal(textured.texture, color_bars())
    before = card(color_bars())
    assert torch.equal(textured.mesh.vertices[textured.mesh.faces], before.mesh.vertices[before.mesh.faces])
    assert torch.allclose(textured.uv[textured.mesh.faces], before.uv[before.mesh.faces])
    write_obj(tmp_path / "c.obj", house(colored=False), up)
    plain = read_obj(tmp_path / "c.obj", up)
    assert isinstance(plain, Mesh) and plain.colors is None


def test_trimesh_reads_the_same_y_up_by_default_with_the_texture_the_right_way_up(tmp_path) -> None:
    write_obj(tmp_path / "a.obj", house())
    read: Any = trimesh.load_mesh(tmp_path / "a.obj", process=False, maintain_order=True)
    assert np.allclose(read.vertices, gltf_from_world(house().vertices).numpy(), atol=1e-6)
    assert np.array_equal(read.faces, house().faces.numpy()) and read.volume == pytest.approx(3)
    assert isinstance(read.visual, ColorVisuals)
    assert np.abs(read.visual.vertex_colors[:, :3] - torch.linspace(0, 255, 18).view(6, 3).numpy()).max() <= 1
    bars = torch.cat([color_bars(), torch.zeros(3, 4, 8)], 1)  # colors above, black below
    write_obj(tmp_path / "b.obj", card(bars))
    read = trimesh.load_mesh(tmp_path / "b.obj", process=False)
    colors = read.visual.to_color().vertex_colors[:, :3]
    top = read.vertices[:, 1] > 0.5
    assert colors[top].max() == 191 and colors[~top].max() == 0


def test_what_others_write_is_read(tmp_path) -> None:
    text = """# quads, normals, groups, indices from the end, lines that go on
    mtllib none.mtl
    o thing
    v 0 0 0
    v\t1 0 0
    v 1 1 \\
    0
    v 0 1 0
    vn 0 0 1
    vt 0 0
    g one
    s off
    f 1//1 2//1 3//1 4//1
    f -4 -3 -2  # of the four so far
    v 5 5 5
    f -1 1/1/1 2/1
    l 1 2
    """
    (tmp_path / "none.mtl").write_text("newmtl a\nmap_Kd gone.png\n")
    (tmp_path / "a.obj").write_text(text)
    mesh = read_obj(tmp_path / "a.obj", up="z")
    assert isinstance(mesh, Mesh) and mesh.colors is None
    corners = mesh.vertices[mesh.faces]
    four = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
    assert torch.equal(corners, four[torch.tensor([[0, 1, 2], [0, 2, 3], [0, 1, 2], [4, 0, 1]])])
    turned = read_obj(tmp_path / "a.obj")
    assert isinstance(turned, Mesh) and torch.equal(turned.vertices, world_from_gltf(mesh.vertices))


def test_a_texture_is_found_below_the_folder_only(tmp_path, refused) -> None:
    place = tmp_path / "here"
    write_obj(place / "a.obj", card(color_bars()))
    (place / "maps").mkdir()
    (place / "a_texture.png").rename(place / "maps" / "b.png")
    (tmp_path / "out.png").write_bytes((place / "maps" / "b.png").read_bytes())
    (place / "link.png").symlink_to(tmp_path / "out.png")
    material = (place / "a.mtl").read_text()

    def with_texture(name: str) -> Path:
        (place / "a.mtl").write_text(material.replace("a_texture.png", name))
        return place / "a.obj"

    for name in ("maps/b.png", r"maps\b.png"):
        assert isinstance(read_obj(with_texture(name)), TexturedMesh)
    outside = ("../out.png", r"..\out.png", "maps/../../out.png", str(tmp_path / "out.png"), r"C:\out.png", "link.png")
    for name in outside:
        with refused("out of the file's folder"):
            read_obj(with_texture(name))
    (tmp_path / "b.png").write_bytes((tmp_path / "out.png").read_bytes())
    (place / "b.png").write_bytes((tmp_path / "out.png").read_bytes())
    for name in ("../b.png", r"C:\textures\b.png"):  # as on the machine that it comes from
        with pytest.warns(Note, match="in its own folder"):
            assert isinstance(read_obj(with_texture(name)), TexturedMesh)
    (place / "a.obj").write_text("mtllib ../other.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with refused("out of the file's folder"):
        read_obj(place / "a.obj")


BAD = {
    "f 1 2 9": "number 9 of 3",
    "f 1 2 0": "number 0",
    "f 1 2 -4": "number -4",
    "f 1 2": "2 corners",
    "f 1 2 x": "'x'",
    "f" + " 1" * 65: "65 corners",
    "v nan 0 0": "NaN",
    "v 1e300 0 0": "Inf",
    "v 0 0 one": "not numbers",
    "v 0 0": "several kinds",
}


@pytest.mark.parametrize("line", BAD)
def test_lines_that_make_no_sense_are_one_line(tmp_path, refused, line) -> None:
    (tmp_path / "a.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n{line}\n")
    with refused(str(tmp_path / "a.obj"), BAD[line]):
        read_obj(tmp_path / "a.obj")


def test_what_the_format_cannot_hold_is_not_written_or_read(tmp_path, refused) -> None:
    with refused("at least one"):
        write_obj(tmp_path / "a.obj", Mesh(torch.rand(3, 3), torch.zeros(0, 3, dtype=torch.long)))
    with refused("NaN"):
        write_obj(tmp_path / "a.obj", Mesh(house().vertices * torch.inf, house().faces))
    with refused("spaces"):
        write_obj(tmp_path / "a b.obj", card(color_bars()))
    for call in (lambda: write_obj(tmp_path / "a.obj", house(), "x"), lambda: read_obj(tmp_path / "c.obj", "x")):
        (tmp_path / "c.obj").write_text("v 0 0 0 300 0 0\nf 1 1 1\n")
        with refused("'x'"):
            call()
    assert not (tmp_path / "a.obj").exists()
    with refused("300", "0..255"):
        read_obj(tmp_path / "c.obj")


def test_only_files_named_obj_are_written_and_images_of_the_same_name_stay(tmp_path, refused) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    write_obj(tmp_path / "a.obj", card(color_bars()))
    assert (tmp_path / "a.png").read_bytes() == b"mine" and isinstance(read_obj(tmp_path / "a.obj"), TexturedMesh)
    (tmp_path / "folder.obj").mkdir()
    before = sorted(tmp_path.iterdir())
    for name in ("a.png", "a.mtl", "folder.obj", "a#b.obj"):
        with refused(name):
            write_obj(tmp_path / name, card(color_bars()))
    assert sorted(tmp_path.iterdir()) == before
