"""Writing GLB (binary glTF 2.0): y up, metres, vertex colors in linear light, textures as sRGB.

Positions are float32. A shape that float32 does not hold where it is, is stored about its middle and put back by its
node's translation, which is JSON's decimal numbers.

`geometry.io.assets.gltf_reader` reads it.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.conventions import gltf_from_world, linear_from_srgb
from geometry.errors import InputError
from geometry.io.assets.precision import check_float32, float32_origin
from geometry.io.files import write_file
from geometry.io.images import encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh, vertex_normals
from geometry.points.pointclouds import PointCloud
from geometry.shapes import Float
from geometry.similarity import Similarity
from geometry.values import as_value

_FLOAT, _UINT32 = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
POINTS, TRIANGLES = 0, 4
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


def write_glb(
    path: Path | str,
    shape: PointCloud | Mesh | TexturedMesh,
    extras: dict[str, Any] | None = None,
    stored_from_user: Similarity | None = None,
) -> None:
    """Write a point cloud or mesh as one glTF 2.0 node, turned from z up to y up (`gltf_from_world`).

    Colors become COLOR_0 in linear light as the standard asks (section 3.7.2.1), as floats; a texture is embedded as a
    PNG, whose bytes are sRGB (section 3.9.2) and whose origin is the upper left corner, as ours. The material is unlit
    (KHR_materials_unlit), since images carry their own light, with a rough non-metal for viewers that do not know it.

    Args:
        path: the file.
        shape: in the world.
        extras: JSON values kept with the scene: scale, frame, provenance.
        stored_from_user: the world to store it in, kept in the extras; `read_glb` undoes it.

    Raises:
        InputError: an empty shape, another kind of value, positions or texels with NaN or Inf, positions too far apart
            for float32, or extras that are not JSON.
    """
    path = Path(path)
    if not isinstance(shape, PointCloud | Mesh | TexturedMesh):
        raise InputError(f"{path}: a {type(shape).__name__}; expected a PointCloud, Mesh or TexturedMesh")
    if stored_from_user is not None:
        shape, extras = (
            stored_from_user.apply(shape),
            {**(extras or {}), "stored_from_user": stored_from_user.to_json()},
        )
    origin = float32_origin(_places(shape), str(path))
    if bool(origin.any()):
        shape = Similarity(origin.new_ones(()), torch.eye(3).double(), -origin).apply(shape)
    buffer, more = _Buffer(), {}
    if isinstance(shape, TexturedMesh):
        primitive = _primitive(path, Mesh(shape.mesh.vertices, shape.mesh.faces), buffer, gltf_from_world)
        place = shape.uv.detach().cpu().float().numpy()
        primitive["attributes"]["TEXCOORD_0"] = buffer.add(place, _FLOAT, "VEC2", _VERTICES)
        more = {
            "images": [{"bufferView": buffer.view(encode_png(shape.texture)), "mimeType": "image/png"}],
            "samplers": [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}],
            "textures": [{"source": 0, "sampler": 0}],
        }
    else:
        primitive = _primitive(path, shape, buffer, gltf_from_world)
    nodes = [{"mesh": 0, "name": "world"} | _translation(gltf_from_world(origin))]
    _write(path, buffer, nodes, [{"primitives": [primitive]}], more, extras)


@as_value
@dataclass(frozen=True)
class MovingMesh:
    """A mesh in its own frame, and the pose of that frame over time.

    Attributes:
        name: of its node.
        mesh: in its own frame.
        time_s: [k] increasing, seconds; one moment = it does not move.
        position: [k, 3] metres.
        rotation: [k, 4] world from mesh, wxyz, unit.
    """

    name: str
    mesh: Mesh
    time_s: Float[torch.Tensor, "k"]
    position: Float[torch.Tensor, "k 3"]
    rotation: Float[torch.Tensor, "k 4"]


def write_moving_glb(path: Path | str, meshes: Sequence[MovingMesh], extras: dict[str, Any] | None = None) -> None:
    """Write moving meshes as one glTF 2.0 scene with an animation.

    Each mesh is a node below one that turns z up to y up. Positions are interpolated linearly and rotations along the
    shorter arc (section 3.11), from the first moment to the last.

    Args:
        path: the file.
        meshes: at least one; colors as for `write_glb`.
        extras: JSON values kept with the scene.

    Raises:
        InputError: as `write_glb` raises it, no meshes, or poses with NaN or Inf.
    """
    path = Path(path)
    if not meshes:
        raise InputError(f"{path}: nothing to write; expected at least one mesh")
    buffer, samplers, channels = _Buffer(), [], []
    half = math.sqrt(0.5)
    origin = float32_origin(torch.cat([moving.position.detach().cpu() for moving in meshes]), f"{path}: poses")
    nodes: list[dict[str, Any]] = [
        {"name": "world", "rotation": [-half, 0, 0, half], "children": list(range(1, len(meshes) + 1))}
        | _translation(gltf_from_world(origin))
    ]
    parts = []
    for node, moving in enumerate(meshes, 1):
        check_float32(moving.mesh.vertices, f"{path}: {moving.name!r} in its own frame")
        parts.append({"primitives": [_primitive(path, moving.mesh, buffer, lambda vectors: vectors)]})
        place = (moving.position.detach().cpu() - origin.to(moving.position)).float()
        turn = torch.nn.functional.normalize(moving.rotation.detach().cpu().float(), dim=-1).roll(-1, -1)  # to xyzw
        if not bool(place.isfinite().all() & turn.isfinite().all()):
            raise InputError(f"{path}: poses of {moving.name!r} with NaN or Inf; expected finite float32")
        entry = {"name": moving.name, "mesh": node - 1, "translation": place[0].tolist(), "rotation": turn[0].tolist()}
        nodes.append(entry)
        if len(moving.time_s) == 1:
            continue
        moments = moving.time_s.detach().cpu().float().numpy()
        bounds = {"min": [float(moments.min())], "max": [float(moments.max())]}
        clock = buffer.add(moments, _FLOAT, "SCALAR", None, **bounds)
        for target, values, kind in (("translation", place, "VEC3"), ("rotation", turn, "VEC4")):
            samplers.append({"input": clock, "output": buffer.add(values.numpy(), _FLOAT, kind, None)})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": target}})
    animation = {"animations": [{"name": "motion", "samplers": samplers, "channels": channels}]} if channels else {}
    _write(path, buffer, nodes, parts, animation, extras)


def _places(shape: PointCloud | Mesh | TexturedMesh) -> torch.Tensor:
    match shape:
        case PointCloud():
            return shape.points
        case Mesh():
            return shape.vertices
        case TexturedMesh():
            return shape.mesh.vertices


def _translation(origin: torch.Tensor) -> dict[str, list[float]]:
    """What a node has to say of where its mesh is."""
    return {"translation": origin.tolist()} if bool(origin.any()) else {}


def _primitive(
    path: Path, shape: PointCloud | Mesh, buffer: "_Buffer", turn: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, Any]:
    """Add a shape's data to the buffer, its vectors turned; the primitive that refers to them."""
    mesh = shape if isinstance(shape, Mesh) else None
    points = (shape.vertices if isinstance(shape, Mesh) else shape.points).detach().cpu().float()
    if not len(points) or (mesh is not None and not len(mesh.faces)):
        raise InputError(f"{path}: nothing to write; expected at least one point or triangle")
    if not bool(points.isfinite().all()):
        raise InputError(f"{path}: positions with NaN or Inf; expected finite float32")
    position = turn(points).contiguous().numpy()
    bounds = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    attributes = {"POSITION": buffer.add(position, _FLOAT, "VEC3", _VERTICES, **bounds)}
    normals = vertex_normals(shape) if isinstance(shape, Mesh) else shape.normals
    if normals is not None:
        normal = turn(torch.nn.functional.normalize(normals.detach().cpu().float(), dim=-1))
        attributes["NORMAL"] = buffer.add(normal.numpy(), _FLOAT, "VEC3", _VERTICES)
    if shape.colors is not None:
        light = linear_from_srgb(shape.colors.detach().cpu().float().nan_to_num().clamp(0, 1))
        attributes["COLOR_0"] = buffer.add(light.numpy(), _FLOAT, "VEC3", _VERTICES)
    primitive: dict[str, Any] = {"attributes": attributes, "material": 0, "mode": POINTS}
    if mesh is not None:
        faces = mesh.faces.cpu().numpy().astype("<u4").reshape(-1)
        primitive |= {"mode": TRIANGLES, "indices": buffer.add(faces, _UINT32, "SCALAR", _INDICES)}
    return primitive


def _write(
    path: Path,
    buffer: "_Buffer",
    nodes: list[dict[str, Any]],
    meshes: list[dict[str, Any]],
    more: dict[str, Any],
    extras: dict[str, Any] | None,
) -> None:
    try:
        whole = _document(nodes, meshes, buffer, extras, "textures" in more) | more
        document = json.dumps(whole, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: extras that are not JSON ({error}); expected JSON values") from error
    write_file(path, _glb(document.encode(), bytes(buffer.data)))


class _Buffer:
    """The binary chunk as it grows, with the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, component: int, kind: str, target: int | None, **more: Any) -> int:
        """Append values of 4-byte aligned elements; the index of their accessor. Animations have no target."""
        view = self.view(values.astype(values.dtype.newbyteorder("<")).tobytes(), target)
        accessor = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        self.accessors.append(accessor | more)
        return len(self.accessors) - 1

    def view(self, raw: bytes, target: int | None = None) -> int:
        """Append bytes, padded to a multiple of 4; the index of their view."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        self.views.append(view | ({} if target is None else {"target": target}))
        self.data += raw + b"\0" * (-len(raw) % 4)
        return len(self.views) - 1


def _document(
    nodes: list[dict[str, Any]],
    meshes: list[dict[str, Any]],
    buffer: _Buffer,
    extras: dict[str, Any] | None,
    textured: bool,
) -> dict[str, Any]:
    surface: dict[str, Any] = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0, "roughnessFactor": 1}
    if textured:
        surface["baseColorTexture"] = {"index": 0}
    return {
        "asset": {"version": "2.0", "generator": "worldgen"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]} | ({"extras": extras} if extras else {})],
        "nodes": nodes,
        "meshes": meshes,
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
