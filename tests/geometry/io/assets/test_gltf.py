"""GLB out, read back by hand, by trimesh and by the Khronos validator."""

import io
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals

from geometry.conventions import gltf_from_world, linear_from_srgb
from geometry.io.assets.gltf import write_glb
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud

VALIDATE = """
const fs = require("fs");
const validator = require(process.argv[1]);
Promise.all(process.argv.slice(2).map(name => validator.validateBytes(new Uint8Array(fs.readFileSync(name)))))
  .then(reports => console.log(JSON.stringify(reports.map(report => report.issues))));
"""


def house(colored: bool = True) -> Mesh:
    """A closed wedge of 6 corners, 1 m wide, 2 m deep, 3 m high, off the origin."""
    corners = [[0, 0, 0], [1, 0, 0], [1, 2, 0], [0, 2, 0], [0, 1, 3], [1, 1, 3]]
    faces = [[0, 2, 1], [0, 3, 2], [0, 1, 5], [0, 5, 4], [2, 3, 4], [2, 4, 5], [1, 2, 5], [0, 4, 3]]
    colors = torch.linspace(0, 1, 18).view(6, 3) if colored else None
    return Mesh(torch.tensor(corners).float() + torch.tensor([5.0, -7.0, 0.1]), torch.tensor(faces), colors)


def cloud() -> PointCloud:
    return PointCloud(torch.randn(5, 3), torch.rand(5, 3))


def color_bars() -> torch.Tensor:
    """White, yellow, cyan, green, magenta, red, blue, black at 75%: the eight columns [3, 4, 8] of a test card."""
    columns = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    return (191 / 255 * columns.float()).mT[:, None].expand(3, 4, 8).clone()


def card(texture: torch.Tensor) -> TexturedMesh:
    """An upright square facing -y that shows a texture unmirrored to who looks along +y: u to the right, v down."""
    corners = torch.tensor([[0.0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0]])
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    return TexturedMesh(Mesh(corners, torch.tensor([[0, 2, 1], [0, 3, 2]])), uv, texture)


def parsed(path: Path) -> tuple[dict, bytes]:
    """The two chunks of a GLB, its container checked byte by byte (glTF 2.0, section 4.4)."""
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON" and size % 4 == 0
    binary_size, binary_kind = struct.unpack("<I4s", data[20 + size : 28 + size])
    assert binary_kind == b"BIN\0" and binary_size % 4 == 0 and 28 + size + binary_size == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def values(document: dict, binary: bytes, index: int) -> np.ndarray:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    assert view["byteOffset"] % 4 == 0
    array = np.frombuffer(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], kind)
    return array.reshape(accessor["count"], width)


def test_glb_geometry_is_ours_turned_y_up_and_its_bounds_are_exact(tmp_path) -> None:
    mesh = house()
    write_glb(tmp_path / "a.glb", mesh)
    document, binary = parsed(tmp_path / "a.glb")
    primitive = document["meshes"][0]["primitives"][0]
    position = values(document, binary, primitive["attributes"]["POSITION"])
    assert np.array_equal(position, gltf_from_world(mesh.vertices).numpy())
    assert np.array_equal(values(document, binary, primitive["indices"]).reshape(-1, 3), mesh.faces.numpy())
    accessor = document["accessors"][primitive["attributes"]["POSITION"]]
    assert accessor["min"] == position.min(0).tolist() and accessor["max"] == position.max(0).tolist()
    assert accessor["max"][1] == pytest.approx(3.1)  # the ridge, z = 3.1 m, is y


def test_glb_colors_are_linear(tmp_path) -> None:
    for shape in (house(), cloud()):
        write_glb(tmp_path / "a.glb", shape)
        document, binary = parsed(tmp_path / "a.glb")
        accessor = document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
        assert shape.colors is not None
        assert np.array_equal(values(document, binary, accessor), linear_from_srgb(shape.colors).numpy())


def test_trimesh_reads_the_same_closed_mesh_with_the_colors_of_the_linear_rule(tmp_path) -> None:
    mesh = house()
    write_glb(tmp_path / "a.glb", mesh)
    read = trimesh.load_mesh(tmp_path / "a.glb", process=False, skip_materials=True)  # which hide vertex colors
    assert np.array_equal(read.vertices.astype(np.float32), gltf_from_world(mesh.vertices).numpy())
    assert np.array_equal(read.faces, mesh.faces.numpy())
    assert read.is_watertight and read.volume == pytest.approx(3)  # positive: normals point outward
    assert (read.vertex_normals * (read.vertices - read.centroid)).sum(-1).min() > 0
    assert mesh.colors is not None
    assert isinstance(read.visual, ColorVisuals)
    light = linear_from_srgb(mesh.colors).numpy() * 255
    assert np.abs(read.visual.vertex_colors[:, :3] - light).max() <= 1


def test_trimesh_reads_the_same_points_with_the_colors_of_the_linear_rule(tmp_path) -> None:
    points = cloud()
    write_glb(tmp_path / "a.glb", points)
    read = next(iter(trimesh.load_scene(tmp_path / "a.glb").geometry.values()))
    assert isinstance(read, trimesh.PointCloud)
    assert np.array_equal(read.vertices.astype(np.float32), gltf_from_world(points.points).numpy())
    assert np.abs(read.colors[:, :3] - linear_from_srgb(points.colors).numpy() * 255).max() <= 1


def test_glb_points_keep_their_normals_turned_and_of_unit_length(tmp_path) -> None:
    points = cloud()
    for normals in (None, 3 * torch.randn(5, 3)):
        write_glb(tmp_path / "a.glb", PointCloud(points.points, points.colors, normals))
        document, binary = parsed(tmp_path / "a.glb")
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        assert ("NORMAL" in attributes) == (normals is not None)
        if normals is not None:
            unit = gltf_from_world(torch.nn.functional.normalize(normals, dim=-1))
            assert np.allclose(values(document, binary, attributes["NORMAL"]), unit.numpy(), atol=1e-6)


def test_color_bars_are_srgb_bytes_in_a_texture_and_linear_in_vertices(tmp_path) -> None:
    bars = color_bars()
    write_glb(tmp_path / "texture.glb", card(bars))
    document, binary = parsed(tmp_path / "texture.glb")
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    png = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    pixels = np.array(Image.open(io.BytesIO(png)))
    assert pixels.shape == (4, 8, 3)
    assert pixels[0].tolist() == [[191 * on for on in bar] for bar in (bars[:, 0].mT > 0).int().tolist()]
    sampler = document["samplers"][document["textures"][0]["sampler"]]
    assert sampler == {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
    assert document["images"][0]["mimeType"] == "image/png"
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert "COLOR_0" not in attributes  # it would be multiplied with the texture
    assert values(document, binary, attributes["TEXCOORD_0"]).tolist() == card(bars).uv.tolist()
    points = bars[:, 0].mT
    write_glb(tmp_path / "points.glb", PointCloud(torch.randn(8, 3), points))
    document, binary = parsed(tmp_path / "points.glb")
    light = values(document, binary, document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert np.abs(light - 0.5209956 * (points > 0).numpy()).max() < 1e-6  # ((191 / 255 + 0.055) / 1.055) ^ 2.4


def test_trimesh_finds_the_textures_colors_where_they_are(tmp_path) -> None:
    bars = color_bars()
    write_glb(tmp_path / "a.glb", card(bars))
    read: Any = trimesh.load_mesh(tmp_path / "a.glb", process=False)
    assert np.asarray(read.visual.material.baseColorTexture).tolist() == (bars * 255).byte().movedim(0, -1).tolist()
    # trimesh turns v round: its textures have their origin at the lower left corner.
    assert np.allclose(read.visual.uv, card(bars).uv.numpy() * [1, -1] + [0, 1])
    assert np.array_equal(read.vertices.astype(np.float32), gltf_from_world(card(bars).mesh.vertices).numpy())


def test_glb_is_matt_named_and_keeps_extras(tmp_path) -> None:
    write_glb(tmp_path / "a.glb", house(), {"scale": "metric", "up": [0, 0, 1]})
    document, _ = parsed(tmp_path / "a.glb")
    assert document["asset"] == {"version": "2.0", "generator": "worldgen"}
    assert document["scenes"][0]["extras"] == {"scale": "metric", "up": [0, 0, 1]}
    surface = document["materials"][0]["pbrMetallicRoughness"]
    assert surface["metallicFactor"] == 0 and surface["roughnessFactor"] == 1
    assert "KHR_materials_unlit" in document["materials"][0]["extensions"]


def test_the_same_mesh_gives_the_same_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        write_glb(tmp_path / f"{name}.glb", house(), {"x": 1})
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_the_khronos_validator_finds_no_error_and_no_warning(tmp_path) -> None:
    """`npm install gltf-validator` where node looks, or GLTF_VALIDATOR set to the module's folder."""
    module = os.environ.get("GLTF_VALIDATOR", "gltf-validator")
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", f"require({module!r})"], capture_output=True).returncode:
        pytest.skip("node or its module gltf-validator is not here")
    stray = Mesh(torch.cat([house().vertices, torch.ones(1, 3)]), house().faces)  # a vertex without a face
    shapes = {"mesh": house(), "plain": house(colored=False), "points": cloud(), "stray": stray}
    shapes["normals"] = PointCloud(cloud().points, cloud().colors, torch.eye(3)[[0, 1, 2, 1, 0]])
    shapes |= {"texture": card(color_bars()), "odd": card(torch.rand(3, 5, 7))}
    for name, shape in shapes.items():
        write_glb(tmp_path / f"{name}.glb", shape, {"scale": "metric"})
    files = [str(tmp_path / f"{name}.glb") for name in shapes]
    run = subprocess.run([node, "-e", VALIDATE, module, *files], capture_output=True, text=True, check=True)
    reports = json.loads(run.stdout)
    assert len(reports) == len(shapes)
    assert [(report["numErrors"], report["numWarnings"]) for report in reports] == [(0, 0)] * len(shapes), reports


def test_what_the_format_cannot_hold_is_not_written(tmp_path, refused) -> None:
    path = tmp_path / "a.glb"
    with refused("at least one"):
        write_glb(path, PointCloud(torch.zeros(0, 3), torch.zeros(0, 3)))
    with refused("at least one"):
        write_glb(path, Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.long)))
    with refused("NaN"):
        write_glb(path, PointCloud(torch.full((1, 3), torch.inf), torch.zeros(1, 3)))
    for extras in ({"a": {1, 2}}, {"a": float("nan")}):
        with refused("JSON values"):
            write_glb(path, house(), extras)
    assert not path.exists()
