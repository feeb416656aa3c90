"""GLB as other programs write it: every key that carries meaning is read, named in a note, or refused."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from geometry.conventions import linear_from_srgb, world_from_gltf
from geometry.errors import Note
from geometry.image.sampling import sample_across
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.images import encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.io.assets.test_gltf_reader import packed

UV = [[0.0, 0], [1, 0], [1, 1], [0, 1]]
FOUR = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]]).movedim(-1, 0)  # red green, blue white


def card(uv: list[list[float]] = UV, image: torch.Tensor = FOUR) -> tuple[dict[str, Any], bytes]:
    """A textured square of two triangles facing +z, its chunk: positions, uv, indices, the image."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4").tobytes()
    data = corners + np.array(uv, "<f4").tobytes() + np.array([0, 1, 2, 0, 2, 3, 0, 0], "<u2").tobytes()
    png = encode_png(image.repeat_interleave(4, 1).repeat_interleave(4, 2))
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 32},
            {"buffer": 0, "byteOffset": 80, "byteLength": 12},
            {"buffer": 0, "byteOffset": 96, "byteLength": len(png)},
        ],
        "buffers": [{"byteLength": 96 + len(png)}],
    }
    return document, data + png


def more(document: dict[str, Any], data: bytes, values: np.ndarray, component: int, kind: str, **keys: Any) -> bytes:
    """The chunk with one more accessor at its end."""
    data += b"\0" * (-len(data) % 4)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes})
    view = len(document["bufferViews"]) - 1
    document["accessors"].append(
        {"bufferView": view, "componentType": component, "count": len(values), "type": kind} | keys
    )
    return data + values.tobytes()


def color_at(textured: Any, x: float, y: float) -> list[float]:
    """The color of the square (in glTF's x and y) at a point."""
    assert isinstance(textured, TexturedMesh)
    place = torch.tensor([x, 0.0, y])  # in our world
    for face in textured.mesh.faces:
        corners = textured.mesh.vertices[face].float()
        weights = torch.linalg.lstsq(
            torch.cat([corners.mT[[0, 2]], torch.ones(1, 3)]), torch.cat([place[[0, 2]], torch.ones(1)])[:, None]
        ).solution[:, 0]
        if bool((weights > -1e-4).all()):
            uv = (weights[:, None] * textured.uv[face]).sum(0)
            return [round(c, 3) for c in sample_across(textured.texture, 2 * uv[None] - 1, "nearest")[:, 0].tolist()]
    raise AssertionError("not on the square")


RED, GREEN, BLUE, ALL, BLACK = [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]


def read_quietly(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_glb(path)


@pytest.mark.parametrize(
    ("wrap", "last"),
    [({}, [RED, GREEN]), ({"wrapS": 10497}, [RED, GREEN]), ({"wrapS": 33648}, [GREEN, RED]),
     ({"wrapS": 33071}, [GREEN, GREEN])],
)  # fmt: skip
def test_positions_beyond_the_texture_follow_the_sampler(tmp_path: Path, wrap: dict, last: list) -> None:
    document, data = card([[0, 0], [2, 0], [2, 1], [0, 1]])
    document["samplers"] = [wrap]
    shape = read_quietly(packed(tmp_path / "a.glb", document, data))
    assert [color_at(shape, x, 0.3) for x in (0.1, 0.4, 0.6, 0.9)] == [RED, GREEN, *last]  # v = 0 is at y = 0


def test_real_files_show_what_trimesh_shows(shared: Path) -> None:
    for name, told in (("BoxTextured", None), ("Duck", "1 cameras"), ("Fox", "3 animations")):
        path = shared / "data" / "meshes" / f"{name}.glb"
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", Note)
            shape = read_glb(path)
        assert isinstance(shape, TexturedMesh)
        assert [str(told) in str(entry.message) for entry in notes if entry.category is Note] == [True] * (
            told is not None
        )
        theirs: Any = trimesh.load(path, force="mesh", process=False)
        corners = world_from_gltf(torch.from_numpy(theirs.vertices[theirs.faces].copy())).float()
        assert torch.allclose(shape.mesh.vertices[shape.mesh.faces], corners, atol=2e-5)  # Fox: its skin at rest
        uv = torch.from_numpy(theirs.visual.uv[theirs.faces] * [1, -1] + [0, 1]).mean(1)  # centers of faces
        image = np.asarray(theirs.visual.material.baseColorTexture.convert("RGB"))
        at = (uv - uv.floor()).numpy() * [image.shape[1], image.shape[0]]
        seen = image[at[:, 1].astype(int), at[:, 0].astype(int)] / 255
        ours = sample_across(shape.texture, 2 * shape.uv[shape.mesh.faces].mean(1) - 1, "nearest").mT.numpy()
        assert (np.abs(ours - seen).max(-1) < 0.01).mean() > 0.98


def test_several_textures_and_plain_surfaces_are_in_one_atlas(tmp_path: Path) -> None:
    document, data = card()
    second = encode_png(torch.full((3, 4, 4), 1.0) * torch.tensor([0.0, 1, 1])[:, None, None])
    data += b"\0" * (-len(data) % 4)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": len(second)})
    data += second
    document["images"].append({"bufferView": 4, "mimeType": "image/png"})
    document["textures"].append({"source": 1})
    document["materials"] += [
        {"pbrMetallicRoughness": {"baseColorTexture": {"index": 1}, "baseColorFactor": [1, 1, 0, 1]}},
        {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0.2140411, 1]}},
    ]
    square = document["meshes"][0]["primitives"][0]
    document["meshes"] += [{"primitives": [square | {"material": n}]} for n in (1, 2)]
    document["meshes"].append({"primitives": [{"attributes": {"POSITION": 0}, "indices": 2}]})
    document["nodes"] += [{"mesh": n, "translation": [2 * n, 0, 0]} for n in (1, 2, 3)]
    document["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    shape = read_quietly(packed(tmp_path / "a.glb", document, data))
    assert isinstance(shape, TexturedMesh) and shape.mesh.faces.shape == (8, 3)
    assert [color_at(shape, x, 0.8) for x in (0.2, 0.8)] == [BLUE, ALL]
    assert color_at(shape, 2.5, 0.5) == GREEN and color_at(shape, 4.5, 0.5) == [1, 0, 0.5]
    assert color_at(shape, 6.5, 0.5) == ALL
    assert max(shape.texture.shape) < 40


def skinned(document: dict[str, Any], data: bytes) -> bytes:
    """The square bound to two joints: its left side rests, its right side is moved up by 3."""
    joints = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], np.uint8)
    weights = np.array([[1, 0, 0, 0]] * 4, "<f4")
    data = more(document, data, joints, 5121, "VEC4")
    data = more(document, data, weights, 5126, "VEC4")
    data = more(document, data, np.stack([np.eye(4, dtype="<f4")] * 2).reshape(2, 16), 5126, "MAT4")
    document["meshes"][0]["primitives"][0]["attributes"] |= {"JOINTS_0": 3, "WEIGHTS_0": 4}
    document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": 5}]
    document["nodes"] = [{"mesh": 0, "skin": 0, "translation": [9, 9, 9]}, {}, {"translation": [0, 3, 0]}]
    document["scenes"] = [{"nodes": [0, 1, 2]}]
    return data


def test_a_skin_bends_as_its_joints_rest(tmp_path: Path) -> None:
    document, data = card()
    data = skinned(document, data)
    shape = read_quietly(packed(tmp_path / "a.glb", document, data))
    wanted = world_from_gltf(torch.tensor([[0.0, 0, 0], [1, 3, 0], [1, 4, 0], [0, 1, 0]]))
    assert torch.equal(shape.mesh.vertices, wanted)


def test_morph_targets_have_their_weights_at_rest(tmp_path: Path) -> None:
    document, data = card()
    data = more(document, data, np.array([[0, 0, 2]] * 4, "<f4"), 5126, "VEC3")
    document["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": 3}]
    for place, height in (({}, 0), ({"weights": [0.5]}, 1)):
        document["meshes"][0] |= place
        with pytest.warns(Note, match="morph targets"):
            shape = read_glb(packed(tmp_path / "a.glb", document, data))
        assert isinstance(shape, TexturedMesh) and shape.mesh.vertices[:, 1].tolist() == [-height] * 4


@pytest.mark.parametrize(
    ("mode", "order", "faces"),
    [(5, [0, 1, 3, 2, 0, 0], [[0, 1, 3], [2, 3, 1], [3, 2, 0], [0, 0, 2]]),
     (6, [0, 1, 2, 3, 1, 2], [[1, 2, 0], [2, 3, 0], [3, 1, 0], [1, 2, 0]])],
)  # fmt: skip
def test_strips_and_fans_are_triangles(tmp_path: Path, mode: int, order: list[int], faces: list) -> None:
    document, data = card()
    data = more(document, data, np.array(order, "<u2"), 5123, "SCALAR")
    document["meshes"][0]["primitives"][0] |= {"mode": mode, "indices": 3}
    shape = read_quietly(packed(tmp_path / "a.glb", document, data))
    assert shape.mesh.faces.tolist() == faces


def test_vertex_colors_alone_are_multiplied_with_the_factor_and_one_color_beside_textures_is_kept(
    tmp_path: Path,
) -> None:
    document, data = card()
    data = more(document, data, np.array([[255, 255, 0, 128]] * 4, np.uint8), 5121, "VEC4", normalized=True)
    square = {"attributes": {"POSITION": 0, "COLOR_0": 3}, "indices": 2, "material": 1}
    document["materials"].append({"pbrMetallicRoughness": {"baseColorFactor": [0.5, 1, 1, 1]}})
    alone = copy.deepcopy(document)
    alone["meshes"] = [{"primitives": [square]}]
    with pytest.warns(Note, match="left out: opacity"):
        mesh = read_glb(packed(tmp_path / "a.glb", alone, data))
    assert isinstance(mesh, Mesh) and mesh.colors is not None
    assert torch.allclose(linear_from_srgb(mesh.colors), torch.tensor([0.5, 1, 0]).expand(4, 3), atol=1e-6)
    document["meshes"].append({"primitives": [square]})
    document["nodes"].append({"mesh": 1, "translation": [5, 0, 0]})
    document["scenes"] = [{"nodes": [0, 1]}]
    with pytest.warns(Note, match="left out: opacity"):
        both = read_glb(packed(tmp_path / "a.glb", document, data))
    assert color_at(both, 0.2, 0.3) == RED and color_at(both, 5.5, 0.5) == [0.735, 1, 0]


def test_points_keep_their_colors(tmp_path: Path) -> None:
    document, data = card()
    data = more(document, data, np.eye(4, 3, dtype="<f4"), 5126, "VEC3")
    document["meshes"] = [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 3}, "mode": 0}]}]
    cloud = read_quietly(packed(tmp_path / "a.glb", document, data))
    assert isinstance(cloud, PointCloud) and torch.allclose(cloud.colors, torch.eye(4, 3))
