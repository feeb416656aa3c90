"""Reading GLB (binary glTF 2.0): still triangles and points, with vertex colors or one embedded texture.

Section numbers are those of the glTF 2.0 specification.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.conventions import linear_from_srgb, srgb_from_linear, world_from_gltf
from geometry.errors import InputError
from geometry.io.assets.gltf import POINTS, TRIANGLES
from geometry.io.assets.precision import narrowed
from geometry.io.entries import number, shown
from geometry.io.files import read_file
from geometry.io.images import decode_texture
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import transform_points
from geometry.similarity import Similarity

_MAX_BYTES = 2**32 - 1  # what the container's header can say
_MAX_CORNERS = 20_000_000  # vertices and indices of all instances together
_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_KNOWN = {"KHR_materials_unlit", "KHR_mesh_quantization"}
_WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class _Part:
    """One primitive of one node, in the world.

    light    [n, 3] linear light of the vertices, or None for white
    texture  index of an image and the color [3] that it is multiplied by, or None
    """

    points: torch.Tensor
    faces: torch.Tensor | None
    light: torch.Tensor | None
    uv: torch.Tensor | None
    texture: tuple[int, tuple[float, ...]] | None


def read_glb(path: Path | str) -> PointCloud | Mesh | TexturedMesh:
    """Read what a GLB's scene shows, as one shape in our frame (`world_from_gltf`); nodes' transforms are applied.

    COLOR_0 and base colors go from linear light to sRGB; opacity, normals, lights and animations (everything is where
    its node puts it) are left out.

    Args:
        path: the file.

    Returns:
        A mesh, or a textured one; points (gray 0.7 without colors) where there are no triangles. Positions are float32;
        float64 where a world that `write_glb` stored in is undone.

    Raises:
        InputError: the file is missing, damaged or not GLB, or holds what is not read: external buffers and images,
            extensions that change the geometry, sparse accessors, strips, skins and morphing, lines, points beside
            triangles, several textures, textures that repeat or are colored by vertices, and more than 20 million
            vertices and indices.
    """
    path = Path(path)
    data = read_file(path, "a GLB file", _MAX_BYTES)
    try:
        document, binary = _chunks(data)
        reader = _Reader(document, binary)
        shape, stored = reader.shape(), reader.stored_from_user()
        return shape if stored is None else stored.undo(shape)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: JSON nested too deeply; expected a GLB file") from error


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk (section 4.4)."""
    length = int.from_bytes(data[12:16], "little")
    if data[:8] != b"glTF\x02\0\0\0" or data[16:20] != b"JSON" or 20 + length > len(data):
        raise InputError("no header of binary glTF 2.0; expected a complete GLB file")
    try:
        document = json.loads(data[20 : 20 + length])
    except ValueError as error:
        raise InputError("its first chunk is not JSON; expected a GLB file") from error
    if not isinstance(document, dict):
        raise InputError("its JSON is not an object; expected a GLB file")
    start = 20 + length
    size = int.from_bytes(data[start : start + 4], "little")
    if data[start + 4 : start + 8] not in (b"BIN\0", b"") or start + 8 + size > max(len(data), start + 8):
        raise InputError("its binary chunk is truncated or of another kind; expected a complete GLB file")
    return document, data[start + 8 : start + 8 + size]


class _Reader:
    """A document with its binary chunk; every look-up is checked."""

    def __init__(self, document: dict[str, Any], binary: bytes) -> None:
        self.document, self.binary = document, binary
        required = document.get("extensionsRequired", [])
        if not isinstance(required, list) or any(name not in _KNOWN for name in map(str, required)):
            raise InputError(f"needs extensions {shown(required)}; expected none beyond {', '.join(sorted(_KNOWN))}")
        buffers = document.get("buffers", [])
        if not isinstance(buffers, list) or len(buffers) > 1 or any("uri" in _object(entry) for entry in buffers):
            raise InputError("buffers outside of the file; expected one, in the file")

    def shape(self) -> PointCloud | Mesh | TexturedMesh:
        """All primitives of the scene as one."""
        placed = [(entry, place) for node, place in self.nodes() for entry in self.primitives(node)]
        if not placed:
            raise InputError("nothing in its scene; expected triangles or points")
        if (corners := sum(self.corners(primitive) for primitive, _ in placed)) > _MAX_CORNERS:
            raise InputError(f"{corners} vertices and indices in its scene; expected at most {_MAX_CORNERS}")
        parts = [self.part(primitive, place) for primitive, place in placed]
        if len({part.faces is None for part in parts}) > 1 or len({part.texture for part in parts}) > 1:
            raise InputError("points beside triangles, or several textures; expected one kind of shape and one texture")
        points = narrowed(torch.cat([part.points for part in parts]))
        light = None
        if any(part.light is not None for part in parts):
            light = torch.cat([torch.ones_like(p.points).float() if p.light is None else p.light for p in parts])
        colors = None if light is None else srgb_from_linear(light.clamp(0, 1))
        if parts[0].faces is None:
            return PointCloud(points, torch.full_like(points, GRAY).float() if colors is None else colors)
        starts = np.cumsum([0, *(len(part.points) for part in parts)]).tolist()
        faces = torch.cat([part.faces + start for part, start in zip(parts, starts) if part.faces is not None])
        if parts[0].texture is None:
            return Mesh(points, faces, colors)
        if colors is not None and not bool((colors > 0.999).all()):
            raise InputError("a texture that vertex colors are multiplied with; expected one or the other")
        index, factor = parts[0].texture
        texture = self.image(index)
        if factor != _WHITE:
            texture = srgb_from_linear(linear_from_srgb(texture) * torch.tensor(factor)[:, None, None])
        return TexturedMesh(Mesh(points, faces), torch.cat([p.uv for p in parts if p.uv is not None]), texture)

    def stored_from_user(self) -> Similarity | None:
        """The world that the scene is stored in, where `write_glb` left one."""
        extras = self.item("scenes", self.document.get("scene", 0)).get("extras")
        if not isinstance(extras, dict) or "stored_from_user" not in extras:
            return None
        return Similarity.from_json(extras["stored_from_user"], "stored_from_user")

    def nodes(self) -> list[tuple[dict[str, Any], torch.Tensor]]:
        """The scene's nodes with their transforms (float64) to the glTF world; each is in one place only (3.5.2)."""
        scene = self.item("scenes", self.document.get("scene", 0))
        waiting = [(index, torch.eye(4, dtype=torch.float64)) for index in _list(scene, "nodes")]
        found, seen = [], set()
        while waiting:
            index, parent = waiting.pop()
            node = self.item("nodes", index)
            if index in seen:
                raise InputError(f"node {index} in two places; expected a tree")
            seen.add(index)
            place = parent @ _transform(node)
            found.append((node, place))
            waiting += [(child, place) for child in reversed(_list(node, "children"))]
        return found

    def primitives(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Those of a node's mesh."""
        if "mesh" not in node:
            return []
        if "skin" in node:
            raise InputError("a mesh with a skin; expected one that does not bend")
        return [_object(entry) for entry in _list(self.item("meshes", node["mesh"]), "primitives")]

    def corners(self, primitive: dict[str, Any]) -> int:
        """How many vertices and indices a primitive has, by its accessors."""
        position = self.item("accessors", _object(primitive.get("attributes")).get("POSITION"))
        indices = self.item("accessors", primitive["indices"]) if "indices" in primitive else {"count": 0}
        return _whole(position, "count") + _whole(indices, "count")

    def part(self, primitive: dict[str, Any], place: torch.Tensor) -> _Part:
        """A primitive where its node puts it."""
        mode = primitive.get("mode", TRIANGLES)
        if mode not in (POINTS, TRIANGLES) or "targets" in primitive:
            raise InputError(f"a primitive of mode {shown(mode)}, or with targets; expected triangles or points, still")
        attributes = _object(primitive.get("attributes"))
        points = self.values(attributes.get("POSITION"), (3,))
        count = len(points)
        world = world_from_gltf(transform_points(place, points.double()))
        if not bool(world.float().isfinite().all()):
            raise InputError("positions with NaN or Inf; expected finite numbers")
        texture, factor = self.material(primitive)
        light = uv = faces = None
        if "COLOR_0" in attributes:
            light = self.values(attributes["COLOR_0"], (3, 4))[:, :3]
        if texture is None and factor != _WHITE:
            light = torch.ones(count, 3) * torch.tensor(factor) if light is None else light * torch.tensor(factor)
        if texture is not None:
            uv = self.values(attributes.get("TEXCOORD_0"), (2,))
            if not bool(((uv >= -1e-6) & (uv <= 1 + 1e-6)).all()):
                raise InputError("positions outside the texture, which then repeats, or NaN; expected 0 to 1")
            uv = uv.clamp(0, 1)
        if any(
            len(values) != count or not bool(values.isfinite().all()) for values in (light, uv) if values is not None
        ):
            raise InputError(f"colors or texture positions with NaN, or not {count}; expected one for each vertex")
        if mode == TRIANGLES:
            faces = self.faces(primitive, count, float(torch.linalg.det(place[:3, :3])) < 0)
        flat = None if texture is None else (texture, factor)
        return _Part(world, faces, light, uv, flat)

    def faces(self, primitive: dict[str, Any], count: int, mirrored: bool) -> torch.Tensor:
        """Triangles [t, 3]; a mirroring transform reverses their order (3.7.4)."""
        if "indices" in primitive:
            corner = self.values(primitive["indices"], (1,), whole=True)[:, 0]
        else:
            corner = torch.arange(count)
        if len(corner) % 3 or (len(corner) and int(corner.max()) >= count):
            raise InputError(
                f"triangles of {len(corner)} corners among {count} vertices; expected threes of existing ones"
            )
        faces = corner.reshape(-1, 3)
        return faces.flip(1) if mirrored else faces

    def material(self, primitive: dict[str, Any]) -> tuple[int | None, tuple[float, ...]]:
        """The image of a primitive's base color, if any, and the factor [3] in linear light."""
        if "material" not in primitive:
            return None, _WHITE
        surface = _object(self.item("materials", primitive["material"]).get("pbrMetallicRoughness", {}))
        factor = _numbers(surface.get("baseColorFactor", [1, 1, 1, 1]), 4)
        if any(not 0 <= value <= 1 for value in factor):
            raise InputError(f"base color {shown(factor)}; expected 0 to 1")
        if "baseColorTexture" not in surface:
            return None, tuple(factor[:3])
        info = _object(surface["baseColorTexture"])
        if info.get("texCoord", 0) != 0 or "KHR_texture_transform" in _object(info.get("extensions", {})):
            raise InputError("a texture placed by other than TEXCOORD_0; expected TEXCOORD_0 as it is")
        source = self.item("textures", info.get("index")).get("source")
        self.item("images", source)
        return source, tuple(factor[:3])

    def image(self, index: int) -> torch.Tensor:
        """An embedded image, sRGB."""
        entry = self.item("images", index)
        if "uri" in entry or "bufferView" not in entry:
            raise InputError("a texture outside of the file; expected one in the file")
        start, size, _ = self.view(entry["bufferView"])
        return decode_texture(self.binary[start : start + size], f"image {index}")

    def values(self, index: Any, widths: tuple[int, ...], whole: bool = False) -> torch.Tensor:
        """An accessor's elements (3.6.2): [n, width], float32 (integers over their largest value), or whole, int64."""
        accessor = self.item("accessors", index)
        kind, width = _KINDS.get(_whole(accessor, "componentType")), _WIDTHS.get(str(accessor.get("type")), 0)
        count, offset = _whole(accessor, "count"), _whole(accessor, "byteOffset", 0)
        if kind is None or width not in widths or "sparse" in accessor or "bufferView" not in accessor:
            raise InputError(f"accessor {index} of another type, or sparse; expected vectors of {max(widths)}")
        if whole and kind not in ("<u1", "<u2", "<u4"):
            raise InputError(f"indices of type {kind}; expected unsigned whole numbers")
        start, size, stride = self.view(accessor["bufferView"])
        packed = np.dtype(kind).itemsize * width
        stride = stride or packed
        if not count or stride < packed or (offset + stride * (count - 1) + packed > size):
            raise InputError(f"accessor {index}: {count} elements do not fit into its {size} bytes; expected them to")
        element = np.dtype({"names": ["value"], "formats": [(kind, (width,))], "itemsize": stride})
        body = memoryview(self.binary)[start + offset : start + size].tobytes() + bytes(stride)  # the last may be short
        array = np.frombuffer(body, element, count)["value"]
        if whole:
            return torch.from_numpy(array.astype(np.int64))
        found = torch.from_numpy(array.astype(np.float32))
        if array.dtype.kind == "f" or accessor.get("normalized") is not True:
            return found
        return (found / float(np.iinfo(array.dtype).max)).clamp_min(-1)

    def view(self, index: Any) -> tuple[int, int, int]:
        """Start, size and stride (0 = packed) of a buffer view, which lies in the binary chunk."""
        view = self.item("bufferViews", index)
        start, size = _whole(view, "byteOffset", 0), _whole(view, "byteLength")
        if _whole(view, "buffer") or start + size > len(self.binary):
            raise InputError(
                f"buffer view {index}: bytes {start} to {start + size} of {len(self.binary)}; expected fewer"
            )
        return start, size, _whole(view, "byteStride", 0)

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """One of the document's top-level objects."""
        entries = self.document.get(kind)
        if not isinstance(entries, list) or type(index) is not int or not 0 <= index < len(entries):
            raise InputError(f"{kind} {shown(index)}; expected one that exists")
        return _object(entries[index])


def _transform(node: dict[str, Any]) -> torch.Tensor:
    """A node's matrix, or its translation, rotation and scale (3.5.3)."""
    if not {"matrix", "translation", "rotation", "scale"} & set(node):
        return torch.eye(4, dtype=torch.float64)
    if "matrix" in node:
        return torch.tensor(_numbers(node["matrix"], 16), dtype=torch.float64).reshape(4, 4).T
    move = torch.tensor(_numbers(node.get("translation", [0, 0, 0]), 3), dtype=torch.float64)
    x, y, z, w = _numbers(node.get("rotation", [0, 0, 0, 1]), 4)
    scale = torch.tensor(_numbers(node.get("scale", [1, 1, 1]), 3), dtype=torch.float64)
    length = math.hypot(w, x, y, z)
    if not 0.99 < length < 1.01:
        raise InputError(f"rotation {shown([x, y, z, w])}; expected a unit quaternion")
    turn = matrix_from_quaternion_wxyz(torch.tensor([w, x, y, z], dtype=torch.float64) / length)
    place = torch.eye(4, dtype=torch.float64)
    place[:3, :3], place[:3, 3] = turn * scale, move
    return place


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{shown(value)}; expected an object")
    return value


def _list(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise InputError(f"{key} {shown(value)}; expected a list")
    return value


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise InputError(f"{shown(value)}; expected {count} numbers")
    return [number(entry, "a number") for entry in value]


def _whole(entry: dict[str, Any], key: str, default: int | None = None) -> int:
    value = entry.get(key, default)
    if type(value) is not int or not 0 <= value < 2**40:
        raise InputError(f"{key} {shown(value)}; expected a whole number, 0 or more")
    return value
