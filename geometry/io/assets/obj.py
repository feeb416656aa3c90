"""OBJ, with its material and texture in an MTL and a PNG or JPEG beside it.

The format says nothing of frames. `up` does: "y" turns our z up to y up as in GLB, which is what Blender and most
viewers take OBJ for; "z" leaves our own frame as it is. Texture positions have their origin at the lower left corner.
Vertex colors follow the position as three numbers, sRGB in 0..1 (`v x y z r g b`), as MeshLab writes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geometry.conventions import gltf_from_world, world_from_gltf
from geometry.errors import InputError, note
from geometry.io.assets.colors import unit_colors
from geometry.io.assets.obj_materials import Material, beside, materials
from geometry.io.assets.precision import error_of_float32, narrowed
from geometry.io.files import read_file, write_file
from geometry.io.images import decode_texture, encode_png
from geometry.mesh.atlas import AtlasError, merged, wrapped
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY
from geometry.shapes import Float
from geometry.similarity import Similarity

_MAX_BYTES = 1_000_000_000
_MAX_COMMENTS = 10_000  # bytes at the start, where the similarity is
_MAX_CORNERS = 64  # of a polygon
_HARMLESS = {b"vn", b"g", b"o", b"s", b"mg", b"lod", b"shadow_obj", b"trace_obj"}


def write_obj(
    path: Path | str, shape: Mesh | TexturedMesh, up: str = "y", stored_from_user: Similarity | None = None
) -> None:
    """Write a mesh as OBJ, and beside a textured one NAME.mtl and NAME_texture.png for a path NAME.obj.

    Args:
        path: the file; of a textured mesh a name without spaces, which readers take for several names.
        shape: in the world.
        up: "y" turns it to y up, "z" leaves our frame. Positions have 9 digits; 17 where float32 would lose something.
        stored_from_user: the world to store it in, kept as a comment; `read_obj` undoes it.

    Raises:
        InputError: another kind of value, an empty mesh, positions or colors with NaN or Inf, a name with spaces, or
            another direction up.
    """
    path = Path(path)
    if path.suffix.lower() != ".obj" or path.is_dir():
        raise InputError(f"{path}: not the name of an OBJ file; expected NAME.obj")
    if not isinstance(shape, Mesh | TexturedMesh):
        raise InputError(f"{path}: a {type(shape).__name__}; expected a Mesh or TexturedMesh (PLY and GLB hold points)")
    shape = shape if stored_from_user is None else stored_from_user.apply(shape)
    mesh = shape if isinstance(shape, Mesh) else shape.mesh
    colors = mesh.colors if isinstance(shape, Mesh) else None
    points = _turned(path, mesh.vertices.detach().cpu().double(), up, gltf_from_world)
    if not len(mesh.faces):
        raise InputError(f"{path}: nothing to write; expected at least one triangle")
    values = points if colors is None else torch.cat([points, colors.detach().cpu().double().clamp(0, 1)], -1)
    if not bool(values.isfinite().all()):
        raise InputError(f"{path}: positions or colors with NaN or Inf; expected finite numbers")
    lines = [f"# worldgen: right-handed, {up} up, metres; colours sRGB"]
    lines += [] if stored_from_user is None else [f"# {stored_from_user.to_line()}"]
    corner = "{0}"
    places: list[str] = []
    if isinstance(shape, TexturedMesh):
        if path.stem.split() != [path.stem] or "#" in path.stem:
            raise InputError(f"{path}: a name with spaces or #; expected one without, for its material and texture")
        lines += [f"mtllib {path.stem}.mtl", "usemtl surface"]
        uv = shape.uv.detach().cpu().double()
        places = [f"vt {u:.9g} {v:.9g}" for u, v in torch.stack([uv[:, 0], 1 - uv[:, 1]], -1).tolist()]
        corner = "{0}/{0}"
        material = f"newmtl surface\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {path.stem}_texture.png\n"
        write_file(path.with_name(f"{path.stem}_texture.png"), encode_png(shape.texture))
        write_file(path.with_suffix(".mtl"), material.encode())
    digits = 17 if error_of_float32(points) else 9
    lines += ["v " + " ".join(f"{value:.{digits}g}" for value in row) for row in values.tolist()] + places
    lines += ["f " + " ".join(corner.format(index + 1) for index in face) for face in mesh.faces.cpu().tolist()]
    write_file(path, ("\n".join(lines) + "\n").encode())


def read_obj(path: Path | str, up: str = "y") -> Mesh | TexturedMesh:
    """Read the polygons of an OBJ as triangles, with the colors and textures of its materials or vertex colors.

    Polygons are cut into fans from their first corner, which is right for convex ones. Colors are those of vertices,
    else the materials' Kd, as sRGB. Textures (map_Kd, with options -s, -o and -clamp) repeat as they do in the file;
    several are put into one atlas, in which materials without a texture have their Kd (`geometry.mesh.atlas`). Vertices
    with several colors or positions in the texture are duplicated. Normals, groups, smoothing and how materials shine
    are left out; what else would be seen, and missing files, are told in notes.

    Args:
        path: the file.
        up: the file's direction up, "y" or "z".

    Returns:
        The mesh; positions are float32, float64 where float32 would lose something, or a world that `write_obj` stored
        in is undone.

    Raises:
        InputError: the file is missing or not OBJ, numbers are NaN or Inf, faces name missing vertices or have more
            than 64 corners, colors are in no known range, or a file that it names is outside its folder or no PNG or
            JPEG.
    """
    path = Path(path)
    data = read_file(path, "an OBJ file", _MAX_BYTES)
    comments = (_text(line[1:]).strip() for line in data[:_MAX_COMMENTS].splitlines() if line.startswith(b"#"))
    stored = Similarity.from_lines(comments, str(path))
    try:
        shape = _shape(path, data, up)
    except AtlasError as error:
        raise InputError(f"{path}: {error}") from error
    return shape if stored is None else stored.undo(shape)


@dataclass
class _Lines:
    """The lines of an OBJ by their keyword; for each face, what came before it."""

    rows: dict[bytes, list[bytes]]
    before: list[tuple[int, int]]  # vertices and texture positions
    material: list[str]
    left: dict[str, None]


def _shape(path: Path, data: bytes, up: str) -> Mesh | TexturedMesh:
    lines = _sorted(data)
    if lines.left:
        note(f"{path}: left out: {', '.join(lines.left)[:200]}")
    vertices = _vertices(path, lines.rows[b"v"])
    corners, faces, polygon = _corners(path, lines, len(vertices))
    points = narrowed(_turned(path, torch.from_numpy(vertices[:, :3]), up, world_from_gltf))
    colors = None
    if vertices.shape[1] > 4:
        colors = unit_colors(str(path), vertices[:, -3:], np.dtype(np.float64))
    used = {name: n for n, name in enumerate(dict.fromkeys(lines.material))}
    known = materials(path, [_text(name) for name in lines.rows[b"mtllib"]], list(used))
    of_face = np.array([used[name] for name in lines.material])[polygon]
    chosen = [known[name] for name in used]
    images = _images(path, chosen)
    if any(material.texture in images for material in chosen):
        if colors is not None and not bool((colors > 0.998).all()):
            note(f"{path}: left out: colors of vertices beside a texture")
        places = _table(path, "texture positions", lines.rows[b"vt"], (1, 2, 3))
        places = np.pad(places, ((0, 0), (0, max(0, 2 - places.shape[1]))))[:, :2]
        groups = (faces[of_face == n] for n in range(len(chosen)))
        parts = [
            part
            for group, material in zip(groups, chosen)
            if len(group)
            for part in _painted(path, points, corners, group, places, material, images.get(material.texture or ""))
        ]
        return parts[0] if len(parts) == 1 else merged(parts)
    found = corners[:, 0][faces]
    if colors is None and any(material.color is not None for material in chosen):
        kd = torch.tensor([material.color or (GRAY,) * 3 for material in chosen], dtype=torch.float32)
        pairs = np.stack([found.reshape(-1), np.repeat(of_face, 3)], -1)
        if len(kd.unique(dim=0)) == 1:
            return Mesh(points, torch.from_numpy(found), kd[:1].expand(len(points), 3).clone())
        pairs, index = np.unique(pairs, axis=0, return_inverse=True)
        return Mesh(points[torch.from_numpy(pairs[:, 0])], torch.from_numpy(index.reshape(-1, 3)), kd[pairs[:, 1]])
    return Mesh(points, torch.from_numpy(found), colors)


def _sorted(data: bytes) -> _Lines:
    lines = _Lines({key: [] for key in (b"v", b"vt", b"f", b"mtllib")}, [], [], {})
    material = ""
    for line in data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines():
        keyword, _, rest = line.strip().replace(b"\t", b" ").partition(b" ")
        if keyword in lines.rows:
            lines.rows[keyword].append(rest.strip() if keyword == b"mtllib" else rest.partition(b"#")[0].strip())
            if keyword == b"f":
                lines.before.append((len(lines.rows[b"v"]), len(lines.rows[b"vt"])))
                lines.material.append(material)
        elif keyword == b"usemtl":
            material = _text(rest.strip())
        elif keyword and not keyword.startswith(b"#") and keyword not in _HARMLESS:
            lines.left[{b"l": "lines", b"p": "points"}.get(keyword, _text(keyword[:30]))] = None
    return lines


def _images(path: Path, chosen: list[Material]) -> dict[str, Float[torch.Tensor, "3 h w"]]:
    """The textures of materials by their names; missing files are told in a note."""
    found = {}
    for name in {material.texture: None for material in chosen if material.texture is not None}:
        if (place := beside(path, name)) is not None:
            found[name] = decode_texture(read_file(place, "a PNG or JPEG", _MAX_BYTES), str(place))
        else:
            note(f"{path}: no file {name[:60]!r} for a texture; its material's color is taken")
    return found


def _painted(
    path: Path,
    points: torch.Tensor,
    corners: np.ndarray,
    faces: np.ndarray,
    places: np.ndarray,
    material: Material,
    image: torch.Tensor | None,
) -> list[TexturedMesh]:
    """The faces of a material: those with a place in its texture, and the others, of its color."""
    placed = (corners[faces, 1] >= 0).all(1) if image is not None else np.zeros(len(faces), bool)
    if image is not None and not placed.all():
        note(f"{path}: {int((~placed).sum())} faces without positions in their texture get their material's color")
    parts = []
    if image is not None and placed.any():
        pairs, index = np.unique(corners[faces[placed]].reshape(-1, 2), axis=0, return_inverse=True)
        uv = places[pairs[:, 1]] * material.scale + material.offset
        cut = Mesh(points[torch.from_numpy(pairs[:, 0])], torch.from_numpy(index.reshape(-1, 3)))
        parts.append(
            wrapped(cut, torch.from_numpy(uv * [1, -1] + [0, 1]).float(), image, (material.wrap, material.wrap))
        )
    if not placed.all():
        kept, index = np.unique(corners[faces[~placed], 0], return_inverse=True)
        flat = torch.tensor(material.color or (GRAY,) * 3).reshape(3, 1, 1).expand(3, 2, 2).contiguous()
        cut = Mesh(points[torch.from_numpy(kept)], torch.from_numpy(index.reshape(-1, 3)))
        parts.append(TexturedMesh(cut, torch.full((len(kept), 2), 0.5), flat))
    return parts


def _turned(
    path: Path, points: torch.Tensor, up: str, turn: Callable[[torch.Tensor], torch.Tensor]
) -> Float[torch.Tensor, "n 3"]:
    if up not in ("y", "z"):
        raise InputError(f"{path}: up is {up!r}; expected 'y' or 'z'")
    return turn(points) if up == "y" else points


def _vertices(path: Path, rows: list[bytes]) -> np.ndarray:
    """Positions, and colors where all vertices have some."""
    widths = {len(row.split()) for row in rows}
    if len(widths) > 1 and widths <= {3, 4, 6, 7}:
        note(f"{path}: colors of some vertices only are left out")
        rows = [b" ".join(row.split()[:3]) for row in rows]
    return _table(path, "vertices", rows, (3, 4, 6, 7))


def _table(path: Path, what: str, rows: list[bytes], widths: tuple[int, ...]) -> np.ndarray:
    """Rows of numbers [n, width], all as wide as the first."""
    words = [row.split() for row in rows]
    width = len(words[0]) if words else 0
    if width not in widths or any(len(row) != width for row in words):
        raise InputError(
            f"{path}: {what} of {width} numbers or of several kinds; expected {' or '.join(map(str, widths))}"
        )
    try:
        table = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: {what} that are not numbers; expected numbers") from error
    if not (np.abs(table) < 1e30).all():
        raise InputError(f"{path}: {what} with NaN or Inf; expected finite numbers")
    return table


def _corners(path: Path, lines: _Lines, vertices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertex and texture position (-1 = none) of each corner [c, 2], triangles [t, 3] of corners, and their polygon."""
    corners: list[tuple[int, int]] = []
    faces: list[tuple[int, int, int]] = []
    polygon: list[int] = []
    places = len(lines.rows[b"vt"])
    for n, (row, here) in enumerate(zip(lines.rows[b"f"], lines.before)):
        words = row.split()
        if not 3 <= len(words) <= _MAX_CORNERS:
            raise InputError(f"{path}: face of {len(words)} corners; expected 3 to {_MAX_CORNERS}")
        first = len(corners)
        for word in words:
            vertex, _, rest = word.partition(b"/")
            place = rest.partition(b"/")[0]
            vertex_index = _index(path, vertex, here[0], vertices)
            corners.append((vertex_index, _index(path, place, here[1], places) if place else -1))
        faces += [(first, first + i, first + i + 1) for i in range(1, len(words) - 1)]
        polygon += [n] * (len(words) - 2)
    if not faces:
        raise InputError(f"{path}: no faces; expected an OBJ file of a mesh")
    return np.array(corners), np.array(faces), np.array(polygon)


def _index(path: Path, word: bytes, before: int, count: int) -> int:
    """An index from 0: in the file they count from 1, or backwards from -1, the last of those `before` the face."""
    try:
        index = int(word[:12])
    except ValueError as error:
        raise InputError(f"{path}: face corner {_text(word)!r}; expected whole numbers") from error
    found = index - 1 if index > 0 else before + index
    if not index or not 0 <= found < count:
        raise InputError(f"{path}: a face names number {index} of {count}; expected one that exists")
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
