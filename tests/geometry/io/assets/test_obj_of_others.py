"""OBJ and MTL as other programs write them: colors, several materials, options, and files that are missing."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh

from geometry.conventions import world_from_gltf
from geometry.errors import Note
from geometry.image.sampling import sample_across
from geometry.io.assets.obj import read_obj
from geometry.io.images import encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY

RED, GREEN, BLUE, WHITE, BLACK = [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]
FOUR = torch.tensor([[RED, GREEN], [BLUE, WHITE]]).float().movedim(-1, 0)  # the lower row is the last
SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"


def written(folder: Path, text: str, mtl: str | None = None, image: str = "a.png") -> Path:
    """An OBJ with its MTL and an image beside it."""
    (folder / "a.obj").write_text(text)
    if mtl is not None:
        (folder / "a.mtl").write_text(mtl)
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    (folder / image).write_bytes(encode_png(FOUR.repeat_interleave(4, 1).repeat_interleave(4, 2)))
    return folder / "a.obj"


def read_quietly(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_obj(path, "z")


def color_at(textured: Any, x: float, y: float) -> list[float]:
    """The color of a surface in the plane of x and y."""
    assert isinstance(textured, TexturedMesh)
    for face in textured.mesh.faces:
        corners = torch.cat([textured.mesh.vertices[face].float().mT[:2], torch.ones(1, 3)])
        weights = torch.linalg.solve(corners, torch.tensor([x, y, 1.0]))
        if bool((weights > -1e-4).all()):
            uv = (weights[:, None] * textured.uv[face]).sum(0)
            return [round(c, 2) for c in sample_across(textured.texture, 2 * uv[None] - 1, "nearest")[:, 0].tolist()]
    raise AssertionError("not on the surface")


def test_kd_is_the_color_of_faces(tmp_path: Path) -> None:
    text = f"mtllib a.mtl\n{SQUARE}usemtl one\nf 1 2 3\nusemtl two\nf 1 3 4\nusemtl one\nf 2 3 4\n"
    mesh = read_quietly(written(tmp_path, text, "newmtl one\nKd 1 0 0\nnewmtl two\n\tKd\t0 0.5 1\nKs 1 1 1\n"))
    assert isinstance(mesh, Mesh) and mesh.colors is not None
    assert mesh.colors[mesh.faces].tolist() == [[RED] * 3, [[0, 0.5, 1]] * 3, [RED] * 3]
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert torch.equal(mesh.vertices[mesh.faces], square[torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 3]])])


def test_one_kd_splits_no_vertices_and_vertex_colors_come_first(tmp_path: Path) -> None:
    mtl = "newmtl one\nKd 1 0 0\n"
    mesh = read_quietly(written(tmp_path, f"mtllib a.mtl\n{SQUARE}usemtl one\nf 1 2 3 4\n", mtl))
    assert len(mesh.vertices) == 4 and mesh.colors.tolist() == [RED] * 4
    colored = "mtllib a.mtl\nv 0 0 0 0 1 0\nv 1 0 0 0 1 0\nv 0 1 0 0 1 0\nusemtl one\nf 1 2 3\n"
    assert read_quietly(written(tmp_path, colored, mtl)).colors.tolist() == [GREEN] * 3
    with pytest.warns(Note, match="8 bits"):
        mesh = read_obj(written(tmp_path, colored.replace("0 1 0\n", "0 255 0\n"), mtl))
    assert isinstance(mesh, Mesh) and mesh.colors is not None and mesh.colors.tolist() == [GREEN] * 3


# What stands in the MTL after newmtl; the colors at (0.2, 0.2) and (0.8, 0.2).
MAPS: dict[str, tuple[str, str, list]] = {
    "plain": ("map_Kd a.png", "a.png", [BLUE, WHITE]),
    "tabs": ("\tmap_Kd\ta.png", "a.png", [BLUE, WHITE]),
    "another case": ("map_kd a.png", "a.png", [BLUE, WHITE]),
    "spaces": ("map_Kd my  texture 2.png", "my  texture 2.png", [BLUE, WHITE]),
    "quotes": ('map_Kd "my texture.png"', "my texture.png", [BLUE, WHITE]),
    "backslashes": ("map_Kd maps\\deep\\a.png", "maps/deep/a.png", [BLUE, WHITE]),
    "scale": ("map_Kd -s 0.1 0.1 1 a.png", "a.png", [BLUE, BLUE]),
    "offset": ("map_Kd -o 0.5 0 a.png", "a.png", [WHITE, BLUE]),
    "scale, offset, idle options": ("map_Kd -blendu on -s 0.1 0.1 -o 0.5 0.8 -bm 1 a.png", "a.png", [GREEN, GREEN]),
    "clamp": ("map_Kd -clamp on -o 0.5 0 a.png", "a.png", [WHITE, WHITE]),
    "Kd beside it": ("Kd 0.8 0.8 0.8\nmap_Kd a.png", "a.png", [BLUE, WHITE]),
}


@pytest.mark.parametrize("what", MAPS)
def test_textures_with_options_and_names_of_any_kind(tmp_path: Path, what: str) -> None:
    line, image, colors = MAPS[what]
    text = f"mtllib a.mtl\n{SQUARE}usemtl one\n{FACE}"
    shape = read_quietly(written(tmp_path, text, f"newmtl one\n{line}\n", image))
    assert [color_at(shape, 0.2, 0.2), color_at(shape, 0.8, 0.2)] == colors


def test_positions_beyond_the_texture_repeat_it(tmp_path: Path) -> None:
    text = f"mtllib a.mtl\n{SQUARE.replace('vt 1 ', 'vt 2 ')}usemtl one\n{FACE}"
    shape = read_quietly(written(tmp_path, text, "newmtl one\nmap_Kd a.png\n"))
    assert [color_at(shape, x, 0.2) for x in (0.1, 0.4, 0.6, 0.9)] == [BLUE, WHITE, BLUE, WHITE]


def test_several_materials_are_in_one_atlas(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(encode_png(torch.zeros(3, 4, 4)))
    moved = "".join(f"v {x} {y} 0\n" for n in (2, 4, 6) for x, y in ((n, 0), (n + 1, 0), (n + 1, 1), (n, 1)))
    faces = "usemtl one\nf -16/1 -15/2 -14/3 -13/4\nusemtl two\nf -12/1 -11/2 -10/3 -9/4\n"
    faces += "usemtl plain\nf -8 -7 -6 -5\nusemtl unknown\nf -4 -3 -2 -1\n"
    mtl = "newmtl one\nmap_Kd a.png\nnewmtl two\nmap_Kd b.png\nnewmtl plain\nKd 0 1 0\n"
    with pytest.warns(Note, match="no material 'unknown'"):
        shape = read_obj(written(tmp_path, f"mtllib a.mtl\n{SQUARE}{moved}{faces}", mtl), "z")
    seen = [color_at(shape, x, 0.2) for x in (0.2, 0.8, 2.5, 4.5, 6.5)]
    assert seen == [BLUE, WHITE, BLACK, GREEN, [GRAY] * 3]


NOTED = {
    "missing library": ("mtllib gone.mtl\n", None, FACE, "no file 'gone.mtl'"),
    "missing texture": ("mtllib a.mtl\n", "newmtl one\nKd 0.5 0.5 0.5\nmap_Kd gone.png\n", FACE, "no file 'gone.png'"),
    "opacity": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nd 0.5\n", FACE, "opacity"),
    "Tr": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nTr 0.5\n", FACE, "opacity"),
    "opacity by a texture": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nmap_d a.png\n", FACE, "opacity"),
    "emission": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nKe 0 1 0\n", FACE, "Ke"),
    "tinted texture": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nmap_Kd a.png\n", FACE, "Kd, which tints"),
    "option": ("mtllib a.mtl\n", "newmtl one\nmap_Kd -mm 0 1 a.png\n", FACE, "map_Kd -mm"),
    "unknown key of a material": ("mtllib a.mtl\n", "newmtl one\nKd 1 0 0\nglow 3\n", FACE, "glow"),
    "lines": ("", None, FACE + "l 1 2\n", "left out: lines"),
    "points": ("", None, FACE + "p 1\n", "left out: points"),
    "surfaces": ("", None, FACE + "curv2 1 2\n", "left out: curv2"),
    "faces without positions": ("mtllib a.mtl\n", "newmtl one\nmap_Kd a.png\n", FACE + "f 1 2 3\n", "1 faces without"),
    "some colors": ("v 0 0 0 1 1 1\n", None, FACE, "some vertices only"),
}


@pytest.mark.parametrize("what", NOTED)
def test_what_is_left_out_or_missing_is_named(tmp_path: Path, what: str) -> None:
    head, mtl, tail, word = NOTED[what]
    path = written(tmp_path, f"{head}{SQUARE}usemtl one\n{tail}", mtl)
    with pytest.warns(Note, match=word) as notes:
        shape = read_obj(path)
    assert len([entry for entry in notes if entry.category is Note]) == 1
    assert len((shape.mesh if isinstance(shape, TexturedMesh) else shape).faces) >= 2


def test_harmless_keys_are_not_worth_a_note(tmp_path: Path) -> None:
    mtl = "# by hand\nnewmtl one\nKa 0 0 0\nKd 1 0 0\nKs 0 0 0\nNs 10\nNi 1\nillum 2\nd 1\nTr 0\nKe 0 0 0\nPr 0.5\n"
    mtl += "map_Bump a.png\nbump -bm 1 a.png\nmap_Ks a.png\n"
    text = f"# by hand\nmtllib a.mtl\no thing\ng part\ns off\nvn 0 0 1\n{SQUARE}usemtl one\nf 1/1/1 2/2/1 3/3/1\n"
    assert read_quietly(written(tmp_path, text, mtl)).colors.tolist() == [RED] * 4


@pytest.mark.parametrize("line", ["Kd 1 0", "Kd 2 0 0", "Kd a b c", "Kd nan 0 0", "map_Kd ../../x.png", "map_Kd a.obj"])
def test_what_makes_no_sense_is_one_line(tmp_path: Path, refused, line: str) -> None:
    path = written(tmp_path, f"mtllib a.mtl\n{SQUARE}usemtl one\n{FACE}", f"newmtl one\n{line}\n")
    with refused("a."):
        read_obj(path)


def test_real_files_are_what_trimesh_reads(shared: Path) -> None:
    for name in ("teapot.obj", "suzanne.obj", "cow/cow.obj"):
        path = shared / "data" / "meshes" / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            shape = read_obj(path)
        theirs: Any = trimesh.load(path, force="mesh", process=False, maintain_order=True)
        mesh = shape.mesh if isinstance(shape, TexturedMesh) else shape
        edges = mesh.vertices[mesh.faces].diff(dim=1).double().unbind(1)
        assert float(torch.linalg.cross(*edges).norm(dim=-1).sum() / 2) == pytest.approx(theirs.area, rel=1e-4)
        low, high = world_from_gltf(torch.from_numpy(theirs.bounds.copy())).sort(0).values
        assert torch.allclose(mesh.vertices[mesh.faces].amin((0, 1)).double(), low, atol=1e-5)
        assert torch.allclose(mesh.vertices[mesh.faces].amax((0, 1)).double(), high, atol=1e-5)
