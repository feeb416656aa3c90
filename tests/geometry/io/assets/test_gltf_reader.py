"""GLB in: our own files, those of trimesh, and those that others may write."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from geometry.conventions import linear_from_srgb, world_from_gltf
from geometry.io.assets.gltf import MovingMesh, write_glb, write_moving_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.images import encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.io.assets.test_gltf import card, cloud, color_bars, house, parsed


def packed(path: Path, document: dict[str, Any], binary: bytes) -> Path:
    """A GLB of any document, its container right."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    size = 28 + len(text) + len(binary)
    head = struct.pack("<4sIII4s", b"glTF", 2, size, len(text), b"JSON")
    path.write_bytes(head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary)
    return path


def triangle(**more: Any) -> tuple[dict[str, Any], bytes]:
    """A document of one triangle in one node, and its binary chunk; `more` goes into the document."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    }
    return document | more, corners


def test_our_own_files_come_back(tmp_path) -> None:
    path = tmp_path / "a.glb"
    write_glb(path, house())
    mesh = read_glb(path)
    before = house()
    assert isinstance(mesh, Mesh) and mesh.colors is not None and before.colors is not None
    assert torch.equal(mesh.vertices, before.vertices) and torch.equal(mesh.faces, before.faces)
    assert torch.allclose(mesh.colors, before.colors, atol=1e-6)
    write_glb(path, house(colored=False))
    plain = read_glb(path)
    assert isinstance(plain, Mesh) and plain.colors is None
    scattered = cloud()
    write_glb(path, scattered)
    points = read_glb(path)
    assert isinstance(points, PointCloud) and torch.equal(points.points, scattered.points)
    assert torch.allclose(points.colors, scattered.colors, atol=1e-6)
    write_glb(path, card(color_bars()))
    textured = read_glb(path)
    assert isinstance(textured, TexturedMesh) and torch.equal(textured.texture, color_bars())
    assert torch.equal(textured.uv, card(color_bars()).uv)


def test_trimeshs_boxes_with_byte_colors_come_back(tmp_path) -> None:
    box = trimesh.creation.box((1, 2, 3))
    box.visual.vertex_colors = np.arange(32).reshape(8, 4) * 8  # type: ignore[union-attr]
    box.export(tmp_path / "a.glb")
    mesh = read_glb(tmp_path / "a.glb")
    assert isinstance(mesh, Mesh) and mesh.colors is not None
    assert torch.allclose(mesh.vertices, world_from_gltf(torch.tensor(box.vertices)).float())
    assert np.array_equal(mesh.faces.numpy(), box.faces)
    expected = np.arange(32).reshape(8, 4)[:, :3] * 8 / 255  # normalized bytes of linear light
    assert np.abs(linear_from_srgb(mesh.colors).numpy() - expected).max() < 1e-6


def test_nodes_turn_scale_mirror_and_repeat_what_is_in_them(tmp_path) -> None:
    half = 0.5**0.5
    nodes = [
        {"children": [1, 2], "translation": [10, 0, 0]},
        {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 1, 1]},  # by 90 degrees about z
        {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1]},  # by columns: x mirrored
    ]
    mesh = read_glb(packed(tmp_path / "a.glb", *triangle(nodes=nodes)))
    assert isinstance(mesh, Mesh)
    theirs = torch.tensor([[10.0, 0, 0], [10, 2, 0], [9, 0, 0], [10, 0, 5], [9, 0, 5], [10, 1, 5]])
    assert torch.allclose(mesh.vertices, world_from_gltf(theirs), atol=1e-6)
    assert mesh.faces.tolist() == [[0, 1, 2], [5, 4, 3]]  # both face +z of glTF


def test_moving_meshes_are_where_they_start(tmp_path) -> None:
    pose = torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([[0.0, 0, 0, 1], [1, 0, 0, 0]])
    write_moving_glb(tmp_path / "a.glb", [MovingMesh("a", house(), torch.tensor([0.0, 1.0]), *pose)])
    mesh = read_glb(tmp_path / "a.glb")
    turned = house().vertices * torch.tensor([-1.0, -1, 1]) + pose[0][0]
    assert isinstance(mesh, Mesh) and torch.allclose(mesh.vertices, turned, atol=1e-5)


def test_interleaved_short_integers_and_base_colors_are_read(tmp_path) -> None:
    element = np.dtype([("at", "<i2", 3), ("pad", "<u2"), ("uv", "<u2", 2)])
    data = np.zeros(3, element)
    data["at"] = [[32767, 0, 0], [0, 32767, 0], [0, 0, -32768]]
    data["uv"] = [[0, 0], [65535, 0], [0, 65535]]
    png = encode_png(torch.full((3, 2, 2), 188 / 255))
    document, _ = triangle(
        meshes=[{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}],
        accessors=[
            {"bufferView": 0, "componentType": 5122, "normalized": True, "count": 3, "type": "VEC3"},
            {"bufferView": 0, "byteOffset": 8, "componentType": 5123, "normalized": True, "count": 3, "type": "VEC2"},
        ],
        bufferViews=[
            {"buffer": 0, "byteLength": 36, "byteStride": 12},
            {"buffer": 0, "byteOffset": 36, "byteLength": len(png)},
        ],
        images=[{"bufferView": 1, "mimeType": "image/png"}],
        textures=[{"source": 0}],
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 0.5, 0, 1]}}],
        extensionsRequired=["KHR_mesh_quantization"],
    )
    shape = read_glb(packed(tmp_path / "a.glb", document, data.tobytes() + png))
    assert isinstance(shape, TexturedMesh)
    assert torch.equal(shape.mesh.vertices, world_from_gltf(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])))
    assert shape.uv.tolist() == [[0, 0], [1, 0], [0, 1]]
    light = linear_from_srgb(shape.texture)[:, 0, 0]
    assert torch.allclose(light, 0.502886 * torch.tensor([1.0, 0.5, 0]), atol=1e-5)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "external buffer": ({"buffers": [{"uri": "a.bin", "byteLength": 36}]}, "in the file"),
    "extension": ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "KHR_draco_mesh_compression"),
    "cycle": ({"nodes": [{"mesh": 0, "children": [0]}]}, "tree"),
    "no such node": ({"scenes": [{"nodes": [7]}]}, "nodes 7"),
    "list as index": ({"scenes": [{"nodes": [[0]]}]}, "nodes [0]"),
    "skin": ({"nodes": [{"mesh": 0, "skin": 0}]}, "skin"),
    "lines alone": ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 1}]}]}, "mode 1"),
    "morph weights": (
        {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "targets": [{}]}], "weights": [1, 2]}]}, "1 numbers"
    ),
    "no such mode": ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 7}]}]}, "mode 7"),
    "part of a triangle": ({"accessors": [{"bufferView": 0, "componentType": 5126, "count": 2, "type": "VEC3"}]}, "2"),
    "huge count": (
        {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 10**9, "type": "VEC3"}]}, "at most"
    ),
    "outside view": (
        {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}]}, "do not fit"
    ),
    "zero count": ({"accessors": [{"bufferView": 0, "componentType": 5126, "count": 0, "type": "VEC3"}]}, "do not fit"),
    "outside chunk": ({"bufferViews": [{"buffer": 0, "byteOffset": 4, "byteLength": 36}]}, "expected fewer"),
    "sparse": (
        {"accessors": [{"bufferView": 0, "sparse": {}, "componentType": 5126, "count": 3, "type": "VEC3"}]}, "sparse"
    ),
    "no data": ({"accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}]}, "expected vectors"),
    "NaN matrix": ({"nodes": [{"mesh": 0, "matrix": [float("nan")] * 16}]}, "finite"),
    "bad rotation": ({"nodes": [{"mesh": 0, "rotation": [0, 0, 0, 3]}]}, "unit quaternion"),
    "overflow": ({"nodes": [{"mesh": 0, "scale": [1e300, 1e300, 1e300], "children": []}]}, "finite"),
    "external image": (
        {
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC2"},
            ],
            "images": [{"uri": "../../etc/passwd"}],
            "textures": [{"source": 0}],
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        },
        "outside of the file",
    ),
    "instances": ({"nodes": [{"mesh": 0}] * 3, "scenes": [{"nodes": [0, 1, 1]}]}, "two places"),
    "empty": ({"scenes": [{}]}, "nothing in its scene"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_read_is_one_line(tmp_path, refused, what) -> None:
    change, word = BAD[what]
    path = packed(tmp_path / "a.glb", *triangle(**change))
    with refused(str(path), word):
        read_glb(path)


def test_a_small_file_cannot_ask_for_much_memory_or_time(tmp_path, refused) -> None:
    path = tmp_path / "a.glb"
    many = 400  # instances of 60,000 corners each, in a file of less than a megabyte
    document, _ = triangle(
        nodes=[{"mesh": 0}] * many,
        scenes=[{"nodes": list(range(many))}],
        accessors=[{"bufferView": 0, "componentType": 5126, "count": 60_000, "type": "VEC3"}],
        bufferViews=[{"buffer": 0, "byteLength": 720_000}],
    )
    with refused("24000000", "at most 20000000"):
        read_glb(packed(path, document, bytes(720_000)))
    write_glb(path, card(torch.zeros(3, 9000, 1)))
    with refused("1x9000", "at most 8192"):
        read_glb(path)
    good = path.read_bytes()
    path.write_bytes(good[:12] + struct.pack("<I", 100_000) + b"JSON" + b"[" * 100_000)
    with refused("nested too deeply"):
        read_glb(path)
    path.write_bytes(b"glTF" + bytes(20))
    with refused("binary glTF 2.0"):
        read_glb(path)
    assert parsed(packed(path, *triangle()))[0]["scene"] == 0
