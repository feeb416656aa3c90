"""GLB (binary glTF 2.0): y up, metres, vertex colours in linear light."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from geometry.conventions import gltf_from_world, linear_from_srgb
from geometry.errors import InputError
from geometry.io.files import write_file
from geometry.meshes import Mesh, vertex_normals
from geometry.pointclouds import PointCloud

_FLOAT, _UINT32 = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_POINTS, _TRIANGLES = 0, 4


def write_glb(path: Path, shape: PointCloud | Mesh, extras: dict[str, Any] | None = None) -> None:
    """Write a point cloud or mesh as one glTF 2.0 node, turned from z up to y up (`gltf_from_world`).

    Colours become COLOR_0 in linear light as the standard asks (section 3.7.2.1), as floats. The material is unlit
    (KHR_materials_unlit), since pictures carry their own light, with a rough non-metal for viewers that do not know it.
    `extras` (JSON values) are kept with the scene: scale, frame, provenance.

    Raises InputError for an empty shape, NaN or infinite positions, or extras that are no JSON.
    """
    mesh = shape if isinstance(shape, Mesh) else None
    points = (shape.vertices if isinstance(shape, Mesh) else shape.points).detach().cpu().float()
    if not len(points) or (mesh is not None and not len(mesh.faces)):
        raise InputError(f"{path}: nothing to write; expected at least one point or triangle")
    if not bool(points.isfinite().all()):
        raise InputError(f"{path}: positions with NaN or infinite numbers; expected finite float32")

    buffer = _Buffer()
    position = gltf_from_world(points).contiguous().numpy()
    bounds = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    attributes = {"POSITION": buffer.add(position, _FLOAT, "VEC3", _VERTICES, **bounds)}
    if mesh is not None:
        normal = gltf_from_world(vertex_normals(mesh).detach().cpu().float())
        attributes["NORMAL"] = buffer.add(normal.numpy(), _FLOAT, "VEC3", _VERTICES)
    if shape.colours is not None:
        light = linear_from_srgb(shape.colours.detach().cpu().float().nan_to_num().clamp(0, 1))
        attributes["COLOR_0"] = buffer.add(light.numpy(), _FLOAT, "VEC3", _VERTICES)
    primitive: dict[str, Any] = {"attributes": attributes, "material": 0, "mode": _POINTS}
    if mesh is not None:
        faces = mesh.faces.cpu().numpy().astype("<u4").reshape(-1)
        primitive |= {"mode": _TRIANGLES, "indices": buffer.add(faces, _UINT32, "SCALAR", _INDICES)}
    try:
        document = json.dumps(_document(primitive, buffer, extras), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: extras that are no JSON ({error}); expected JSON values") from error
    write_file(path, _glb(document.encode(), bytes(buffer.data)))


class _Buffer:
    """The binary chunk as it grows, with the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, component: int, kind: str, target: int, **more: Any) -> int:
        """Append values of 4-byte aligned elements; the index of their accessor."""
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw), "target": target})
        accessor = {"bufferView": len(self.views) - 1, "componentType": component, "count": len(values), "type": kind}
        self.accessors.append(accessor | more)
        self.data += raw
        return len(self.accessors) - 1


def _document(primitive: dict[str, Any], buffer: _Buffer, extras: dict[str, Any] | None) -> dict[str, Any]:
    surface = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 1}
    return {
        "asset": {"version": "2.0", "generator": "worldgen"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]} | ({"extras": extras} if extras else {})],
        "nodes": [{"mesh": 0, "name": "world"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [
            {"pbrMetallicRoughness": surface, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }


def _glb(document: bytes, binary: bytes) -> bytes:
    """The container (section 4.4): a header and two chunks padded to 4 bytes, JSON with spaces, binary with zeros."""
    document += b" " * (-len(document) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = b"".join(
        len(chunk).to_bytes(4, "little") + kind + chunk for kind, chunk in ((b"JSON", document), (b"BIN\0", binary))
    )
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks
