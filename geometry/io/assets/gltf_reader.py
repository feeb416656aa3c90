"""Reading GLB (binary glTF 2.0): triangles and points as they rest, with vertex colors or textures.

Section numbers are those of the glTF 2.0 specification.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geometry.conventions import srgb_from_linear, world_from_gltf
from geometry.errors import InputError, note
from geometry.io.assets.gltf import POINTS, TRIANGLES
from geometry.io.assets.gltf_document import GltfDocument, listed, numbers, objects, whole
from geometry.io.assets.gltf_materials import WHITE, Surface, painted, surface
from geometry.io.assets.precision import narrowed
from geometry.io.entries import shown
from geometry.io.files import read_file
from geometry.mesh.atlas import merged, wrapped
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import transform_points
from geometry.similarity import Similarity

_MAX_BYTES = 2**32 - 1  # what the container's header can say
_MAX_CORNERS = 20_000_000  # vertices and indices of all instances together
_STRIP, _FAN = 5, 6
_ATTRIBUTES = ("POSITION", "NORMAL", "TANGENT", "TEXCOORD_", "COLOR_0", "JOINTS_0", "WEIGHTS_0", "_")


@dataclass(frozen=True)
class _Part:
    """One primitive of one node, in the world.

    light    [n, 3] linear light of the vertices with the surface's factor, or None for white
    uv       [n, 2] where the surface has a texture
    """

    points: torch.Tensor
    faces: torch.Tensor | None
    light: torch.Tensor | None
    uv: torch.Tensor | None
    surface: Surface


def read_glb(path: Path | str) -> PointCloud | Mesh | TexturedMesh:
    """Read what a GLB's scene shows, as one shape in our frame (`world_from_gltf`); nodes' transforms are applied.

    COLOR_0 and base colors go from linear light to sRGB. Textures that repeat are laid out, several are put into one
    atlas (`geometry.mesh.atlas`), in which surfaces without a texture have their color. Skins bend as their joints
    rest. Normals, lights, roughness and metal are left out; what else would be seen, such as animations, opacity or
    another scene, is left out with a note that names it.

    Args:
        path: the file.

    Returns:
        A mesh, or a textured one; points (gray 0.7 without colors) where there are no triangles. Positions are float32;
        float64 where float32 would lose something, or where a world that `write_glb` stored in is undone.

    Raises:
        InputError: the file is missing, damaged or not GLB, or holds what is not read: external buffers and images,
            extensions that it requires (compressed geometry, other kinds of images), sparse accessors, and more than 20
            million vertices and indices.
    """
    path = Path(path)
    data = read_file(path, "a GLB file", _MAX_BYTES)
    try:
        reader = _Reader(GltfDocument(data))
        shape, stored = reader.shape(), reader.stored_from_user()
        shape = shape if stored is None else stored.undo(shape)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: JSON nested too deeply; expected a GLB file") from error
    if reader.file.left:
        note(f"{path}: left out: {', '.join(reader.file.left)[:300]}")
    return shape


class _Reader:
    """The scene of a document."""

    def __init__(self, file: GltfDocument) -> None:
        self.file = file
        self.scene = file.item("scenes", file.document.get("scene", 0))
        for key, what in (("animations", "animations"), ("cameras", "cameras")):
            if count := len(listed(file.document, key)):
                file.leave(f"{count} {what}")
        if (count := len(listed(file.document, "scenes"))) > 1:
            file.leave(f"{count - 1} other scenes")
        self.nodes = self.placed()

    def stored_from_user(self) -> Similarity | None:
        """The world that the scene is stored in, where `write_glb` left one."""
        extras = self.scene.get("extras")
        if not isinstance(extras, dict) or "stored_from_user" not in extras:
            return None
        return Similarity.from_json(extras["stored_from_user"], "stored_from_user")

    def placed(self) -> dict[int, torch.Tensor]:
        """The transforms (float64) of the scene's nodes to the glTF world; each is in one place only (3.5.2)."""
        waiting = [(index, torch.eye(4, dtype=torch.float64)) for index in listed(self.scene, "nodes")]
        found: dict[int, torch.Tensor] = {}
        while waiting:
            index, parent = waiting.pop()
            node = self.file.item("nodes", index)
            if index in found:
                raise InputError(f"node {index} in two places; expected a tree")
            found[index] = parent @ _transform(node)
            waiting += [(child, found[index]) for child in reversed(listed(node, "children"))]
        return found

    def shape(self) -> PointCloud | Mesh | TexturedMesh:
        """All primitives of the scene as one."""
        drawn = [(index, primitive) for index in self.nodes for primitive in self.primitives(index)]
        if (corners := sum(self.corners(primitive) for _, primitive in drawn)) > _MAX_CORNERS:
            raise InputError(f"{corners} vertices and indices in its scene; expected at most {_MAX_CORNERS}")
        parts = [self.part(index, primitive) for index, primitive in drawn]
        if not parts:
            seen = f" but {', '.join(self.file.left)[:100]}" if self.file.left else ""
            raise InputError(f"nothing in its scene{seen}; expected triangles or points")
        solid = [part for part in parts if part.faces is not None]
        if solid and len(solid) < len(parts):
            self.file.leave("points beside triangles")
        if any(part.uv is not None for part in solid):
            return self.textured(solid)
        parts = solid or parts
        points = narrowed(torch.cat([part.points for part in parts]))
        light = None
        if any(part.light is not None for part in parts):
            white = [torch.ones(len(part.points), 3) for part in parts]
            light = torch.cat([w if part.light is None else part.light for part, w in zip(parts, white)])
        colors = None if light is None else srgb_from_linear(light.clamp(0, 1))
        if not solid:
            return PointCloud(points, torch.full_like(points, GRAY).float() if colors is None else colors)
        return Mesh(points, _joined(parts), colors)

    def textured(self, parts: list[_Part]) -> TexturedMesh:
        """Triangles some of which have a texture: those of equal surfaces together, then all in one atlas."""
        groups: dict[Surface, list[_Part]] = {}
        for part in parts:
            groups.setdefault(self.looks(part), []).append(part)
        double = narrowed(torch.cat([part.points for part in parts])).dtype
        meshes, images = [], {}
        for found, group in groups.items():
            mesh = Mesh(torch.cat([part.points for part in group]).to(double), _joined(group))
            if found.image is None:
                flat = srgb_from_linear(torch.tensor(found.factor)).reshape(3, 1, 1).expand(3, 2, 2).contiguous()
                meshes.append(TexturedMesh(mesh, torch.full((len(mesh.vertices), 2), 0.5), flat))
                continue
            key = (found.image, found.factor)
            images[key] = images[key] if key in images else painted(self.file, found)
            uv = torch.cat([part.uv for part in group if part.uv is not None])
            meshes.append(wrapped(mesh, uv, images[key], found.wrap))
        return meshes[0] if len(meshes) == 1 else merged(meshes)

    def looks(self, part: _Part) -> Surface:
        """The surface of a part as a texture can show it: one color where it has no texture of its own."""
        light = part.light
        if part.uv is not None:
            if light is not None and not bool((light > 0.998).all()):
                self.file.leave("colors of vertices that a texture is multiplied with")
            return Surface(part.surface.factor, part.surface.image, part.surface.wrap)
        if light is None:
            return Surface()
        if bool((light != light[0]).any()):
            self.file.leave("how colors of vertices vary beside surfaces with a texture")
        return Surface(tuple(light.mean(0).clamp(0, 1).tolist()))

    def primitives(self, index: int) -> list[dict[str, Any]]:
        """Those of a node's mesh that are triangles or points."""
        node = self.file.item("nodes", index)
        if "mesh" not in node:
            return []
        found = [objects(entry) for entry in listed(self.file.item("meshes", node["mesh"]), "primitives")]
        for primitive in found:
            if (mode := primitive.get("mode", TRIANGLES)) in (1, 2, 3):
                self.file.leave(f"lines (mode {mode})")
            elif mode not in (POINTS, TRIANGLES, _STRIP, _FAN):
                raise InputError(f"a primitive of mode {shown(mode)}; expected triangles or points")
        return [primitive for primitive in found if primitive.get("mode", TRIANGLES) not in (1, 2, 3)]

    def corners(self, primitive: dict[str, Any]) -> int:
        """How many vertices and indices a primitive has, by its accessors."""
        position = self.file.item("accessors", objects(primitive.get("attributes")).get("POSITION"))
        indices = self.file.item("accessors", primitive["indices"]) if "indices" in primitive else {"count": 0}
        return whole(position, "count") + whole(indices, "count")

    def part(self, index: int, primitive: dict[str, Any]) -> _Part:
        """A primitive where its node puts it."""
        mode = primitive.get("mode", TRIANGLES)
        attributes = objects(primitive.get("attributes"))
        for name in attributes:
            if not name.startswith(_ATTRIBUTES):
                self.file.leave(f"{name[:40]} of vertices")
        world, mirrored = self.in_world(index, primitive, attributes)
        count = len(world)
        if not bool(world.float().isfinite().all()):
            raise InputError("positions with NaN or Inf; expected finite numbers")
        found = surface(self.file, primitive)
        light = uv = None
        if "COLOR_0" in attributes:
            color = self.file.values(attributes["COLOR_0"], (3, 4))
            light = color[:, :3]
            if color.shape[1] == 4 and bool((color[:, 3] < 1).any()):
                self.file.leave("opacity")
        if found.image is None and found.factor != WHITE:
            light = torch.tensor(found.factor) * (torch.ones(count, 3) if light is None else light)
        if found.image is not None and mode == POINTS:
            self.file.leave("the texture of points")
        elif found.image is not None:
            uv = self.file.values(attributes.get(f"TEXCOORD_{found.coordinates}"), (2,))
            if found.placed is not None:
                rows = torch.tensor(found.placed, dtype=torch.float64)
                uv = (uv.double() @ rows[:, :2].mT + rows[:, 2]).float()
        if any(len(v) != count or not bool(v.isfinite().all()) for v in (light, uv) if v is not None):
            raise InputError(f"colors or texture positions with NaN, or not {count}; expected one for each vertex")
        faces = None if mode == POINTS else self.faces(primitive, mode, count, mirrored)
        return _Part(world, faces, light, uv, found)

    def in_world(self, index: int, primitive: dict[str, Any], attributes: dict[str, Any]) -> tuple[torch.Tensor, bool]:
        """The vertices [n, 3] in our world, float64, and whether they are mirrored there."""
        node, place = self.file.item("nodes", index), self.nodes[index]
        points = self.file.values(attributes.get("POSITION"), (3,)).double()
        if targets := listed(primitive, "targets"):
            mesh = self.file.item("meshes", node["mesh"])
            weights = numbers(node.get("weights", mesh.get("weights", [0] * len(targets))), len(targets))
            self.file.leave("how a mesh changes its shape (morph targets)")
            for weight, target in zip(weights, targets):
                if weight and "POSITION" in objects(target):
                    points = points + weight * self.file.values(target["POSITION"], (3,)).double()
        if "skin" not in node:
            return world_from_gltf(transform_points(place, points)), float(torch.linalg.det(place[:3, :3])) < 0
        bones = self.bones(node["skin"])
        joint = self.file.values(attributes.get("JOINTS_0"), (4,), indices=True)
        weight = self.file.values(attributes.get("WEIGHTS_0"), (4,)).double()
        if len(joint) != len(points) or len(weight) != len(points) or int(joint.max()) >= len(bones):
            raise InputError(f"a skin of {len(bones)} joints for {len(points)} vertices; expected joints that exist")
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
        bent = torch.zeros_like(points)
        for corner in range(4):
            matrix = bones[joint[:, corner]]
            bent = bent + weight[:, corner, None] * ((matrix[:, :3, :3] @ points[..., None])[..., 0] + matrix[:, :3, 3])
        return world_from_gltf(bent), float(torch.linalg.det(bones[0, :3, :3])) < 0

    def bones(self, index: Any) -> torch.Tensor:
        """What a skin's joints do to vertices at rest [j, 4, 4], to the glTF world (3.7.3.3)."""
        skin = self.file.item("skins", index)
        joints = listed(skin, "joints")
        if not joints or any(type(joint) is not int or joint not in self.nodes for joint in joints):
            raise InputError(f"a skin of joints {shown(joints)}; expected some of the scene's nodes")
        place = torch.stack([self.nodes[joint] for joint in joints])
        if "inverseBindMatrices" not in skin:
            return place
        inverse = self.file.values(skin["inverseBindMatrices"], (16,))
        if len(inverse) < len(joints):
            raise InputError(f"a skin of {len(joints)} joints and {len(inverse)} matrices; expected one each")
        return place @ inverse[: len(joints)].double().reshape(-1, 4, 4).mT  # by columns

    def faces(self, primitive: dict[str, Any], mode: int, count: int, mirrored: bool) -> torch.Tensor:
        """Triangles [t, 3] (3.7.2.1); a mirroring transform reverses their order (3.7.4)."""
        if "indices" in primitive:
            corner = self.file.values(primitive["indices"], (1,), indices=True)[:, 0]
        else:
            corner = torch.arange(count)
        fits = len(corner) % 3 == 0 if mode == TRIANGLES else len(corner) >= 3
        if not fits or (len(corner) and int(corner.max()) >= count):
            raise InputError(
                f"triangles of {len(corner)} corners among {count} vertices; expected threes of existing ones"
            )
        if mode == TRIANGLES:
            faces = corner.reshape(-1, 3)
        elif mode == _STRIP:
            faces = corner.unfold(0, 3, 1).clone()
            faces[1::2] = faces[1::2].flip(1)
        else:
            faces = torch.stack([corner[1:-1], corner[2:], corner[:1].expand(len(corner) - 2)], 1)
        return faces.flip(1) if mirrored else faces


def _joined(parts: list[_Part]) -> torch.Tensor:
    """The faces of parts whose vertices follow one another."""
    starts = torch.tensor([0, *(len(part.points) for part in parts)]).cumsum(0).tolist()
    return torch.cat([part.faces + start for part, start in zip(parts, starts) if part.faces is not None])


def _transform(node: dict[str, Any]) -> torch.Tensor:
    """A node's matrix, or its translation, rotation and scale (3.5.3)."""
    if not {"matrix", "translation", "rotation", "scale"} & set(node):
        return torch.eye(4, dtype=torch.float64)
    if "matrix" in node:
        return torch.tensor(numbers(node["matrix"], 16), dtype=torch.float64).reshape(4, 4).T
    move = torch.tensor(numbers(node.get("translation", [0, 0, 0]), 3), dtype=torch.float64)
    x, y, z, w = numbers(node.get("rotation", [0, 0, 0, 1]), 4)
    scale = torch.tensor(numbers(node.get("scale", [1, 1, 1]), 3), dtype=torch.float64)
    length = math.hypot(w, x, y, z)
    if not 0.99 < length < 1.01:
        raise InputError(f"rotation {shown([x, y, z, w])}; expected a unit quaternion")
    turn = matrix_from_quaternion_wxyz(torch.tensor([w, x, y, z], dtype=torch.float64) / length)
    place = torch.eye(4, dtype=torch.float64)
    place[:3, :3], place[:3, 3] = turn * scale, move
    return place
