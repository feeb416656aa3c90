"""OBJ, with its material and texture in an MTL and a PNG or JPEG beside it.

The format says nothing of frames. `up` does: "y" turns our z up to y up as in GLB, which is what Blender and most
viewers take OBJ for; "z" leaves our own frame as it is. Texture positions have their origin at the lower left corner.
Vertex colors follow the position as three numbers, sRGB in 0..1 (`v x y z r g b`), as MeshLab writes them.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import torch

from geometry.conventions import gltf_from_world, world_from_gltf
from geometry.errors import InputError
from geometry.io.assets.precision import error_of_float32, narrowed
from geometry.io.entries import confined
from geometry.io.files import read_file, write_file
from geometry.io.images import decode_texture, encode_png
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.shapes import Float
from geometry.similarity import Similarity

_MAX_BYTES = 1_000_000_000
_MAX_COMMENTS = 10_000  # bytes at the start, where the similarity is
_MAX_CORNERS = 64  # of a polygon


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
    """Read the polygons of an OBJ as triangles, with the texture (map_Kd) of its material or vertex colors.

    Polygons are cut into fans from their first corner. Vertices with several positions in the texture are duplicated.
    Normals, groups, lines and all else that materials say are left out.

    Args:
        path: the file.
        up: the file's direction up, "y" or "z".

    Returns:
        The mesh; positions are float32, float64 where float32 would lose something, or a world that `write_obj` stored
        in is undone.

    Raises:
        InputError: the file is missing or not OBJ, numbers are NaN or Inf, faces name missing vertices or have more
            than 64 corners, colors are outside 0..1, textures are several or repeat, or a file that it names is outside
            its folder.
    """
    path = Path(path)
    data = read_file(path, "an OBJ file", _MAX_BYTES)
    comments = (_text(line[1:]).strip() for line in data[:_MAX_COMMENTS].splitlines() if line.startswith(b"#"))
    stored = Similarity.from_lines(comments, str(path))
    shape = _shape(path, data, up)
    return shape if stored is None else stored.undo(shape)


def _shape(path: Path, data: bytes, up: str) -> Mesh | TexturedMesh:
    lines: dict[bytes, list[bytes]] = {key: [] for key in (b"v", b"vt", b"f", b"mtllib", b"usemtl")}
    before: list[tuple[int, int]] = []  # vertices and texture positions so far, at each face
    for line in data.replace(b"\\\n", b" ").splitlines():
        keyword, _, rest = line.strip().replace(b"\t", b" ").partition(b" ")
        if keyword in lines:
            lines[keyword].append(rest.partition(b"#")[0].strip())
            if keyword == b"f":
                before.append((len(lines[b"v"]), len(lines[b"vt"])))
    vertices = _table(path, "vertices", lines[b"v"], (3, 4, 6, 7))
    corners, faces = _corners(path, lines[b"f"], before, (len(vertices), len(lines[b"vt"])))
    points = narrowed(_turned(path, torch.from_numpy(vertices[:, :3]), up, world_from_gltf))
    colors = torch.from_numpy(vertices[:, -3:]).float() if vertices.shape[1] > 4 else None
    if colors is not None and not bool(((colors >= 0) & (colors <= 1)).all()):
        raise InputError(f"{path}: vertex colors outside 0..1; expected sRGB in 0..1")
    texture = _texture(path, lines[b"mtllib"], {_text(name) for name in lines[b"usemtl"]})
    if texture is None:
        return Mesh(points, torch.from_numpy(corners[:, 0][faces]), colors)
    places = _table(path, "texture positions", lines[b"vt"], (2, 3))[:, :2]
    if (corners[:, 1] < 0).any():
        raise InputError(f"{path}: a texture, and faces without positions in it; expected one for each corner")
    pairs, index = np.unique(corners, axis=0, return_inverse=True)
    uv = torch.from_numpy(places[pairs[:, 1]] * [1, -1] + [0, 1])
    if not bool(((uv >= -1e-6) & (uv <= 1 + 1e-6)).all()):
        raise InputError(f"{path}: positions outside the texture, which then repeats; expected 0 to 1")
    cut = Mesh(points[torch.from_numpy(pairs[:, 0])], torch.from_numpy(index.reshape(-1)[faces]))
    return TexturedMesh(cut, uv.clamp(0, 1).float(), texture)


def _turned(
    path: Path, points: torch.Tensor, up: str, turn: Callable[[torch.Tensor], torch.Tensor]
) -> Float[torch.Tensor, "n 3"]:
    if up not in ("y", "z"):
        raise InputError(f"{path}: up is {up!r}; expected 'y' or 'z'")
    return turn(points) if up == "y" else points


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


def _corners(
    path: Path, rows: list[bytes], before: list[tuple[int, int]], counts: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Vertex and texture position (-1 = none) of each corner [c, 2], and triangles [t, 3] of corners."""
    corners: list[tuple[int, int]] = []
    faces: list[tuple[int, int, int]] = []
    for row, here in zip(rows, before):
        words = row.split()
        if not 3 <= len(words) <= _MAX_CORNERS:
            raise InputError(f"{path}: face of {len(words)} corners; expected 3 to {_MAX_CORNERS}")
        first = len(corners)
        for word in words:
            vertex, _, rest = word.partition(b"/")
            place = rest.partition(b"/")[0]
            vertex_index = _index(path, vertex, here[0], counts[0])
            corners.append((vertex_index, _index(path, place, here[1], counts[1]) if place else -1))
        faces += [(first, first + i, first + i + 1) for i in range(1, len(words) - 1)]
    if not faces:
        raise InputError(f"{path}: no faces; expected an OBJ file of a mesh")
    return np.array(corners), np.array(faces)


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


def _texture(path: Path, libraries: list[bytes], used: set[str]) -> Float[torch.Tensor, "3 h w"] | None:
    """The image of the materials that are used; None without one."""
    names: set[str] = set()
    for library in libraries:
        material = ""
        for line in read_file(_beside(path, _text(library)), "an MTL file", _MAX_BYTES // 100).splitlines():
            keyword, _, rest = line.strip().partition(b" ")
            if keyword == b"newmtl":
                material = _text(rest.strip())
            elif keyword == b"map_Kd" and material in used:
                names.add(_text(rest.strip()))
    if len(names) > 1:
        raise InputError(f"{path}: {len(names)} textures; expected at most one")
    if not names:
        return None
    place = _beside(path, names.pop())
    return decode_texture(read_file(place, "a PNG or JPEG", _MAX_BYTES), str(place))


def _beside(path: Path, name: str) -> Path:
    """A file that an OBJ names, in its folder or below; names may have the separators of Windows."""
    root, parts, where = path.parent.resolve(), PureWindowsPath(name).parts, f"{path}: names the file {name[:60]!r}"
    if not name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts:
        raise InputError(f"{where}: a path out of the file's folder; expected one below {root}")
    return confined(root, "/".join(parts), where)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
