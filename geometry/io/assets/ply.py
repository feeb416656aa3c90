"""PLY: point clouds and triangle meshes in the world frame (z up, metres), colors as sRGB bytes.

Files are written as binary, little-endian, with float32 positions; with doubles where float32 would lose something.
Files of other programs are read too: of the vertices x, y, z, nx, ny, nz and the usual names of colors, of the faces
their corners. What carries no meaning for a shape is passed over; all else that a file holds is named in a note.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from geometry.errors import InputError, note
from geometry.image.sampling import sample_across
from geometry.io.assets.colors import unit_colors
from geometry.io.assets.ply_tables import Column, PlyTables, ply_tables
from geometry.io.assets.precision import error_of_float32
from geometry.io.files import write_file
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.shapes import Float
from geometry.similarity import Similarity

_PLACE, _NORMAL = ("x", "y", "z"), ("nx", "ny", "nz")
_COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
_OPACITY = ("alpha", "a", "diffuse_alpha", "opacity")
_CORNERS = ("vertex_indices", "vertex_index", "vertex_indexes")
_HARMLESS = {"confidence", "quality", "flags", "radius", "value", "vertex_index", "id"}  # of a vertex or face


def write_ply(
    path: Path | str,
    shape: PointCloud | Mesh | TexturedMesh,
    comments: tuple[str, ...] = (),
    stored_from_user: Similarity | None = None,
    unit: str = "metres",
) -> None:
    """Write a point cloud or mesh as binary PLY.

    Positions are float32, or doubles where float32 would lose something (`geometry.io.assets.precision`).

    Args:
        path: the file.
        shape: in the world; its colors are stored as sRGB bytes. PLY has no textures: of a textured mesh the vertices
            get the colors that the texture has there, which a note says.
        comments: comment lines of the header, after the generator's.
        stored_from_user: the world to store it in, kept as a comment; `read_ply` undoes it.
        unit: what the header calls the unit of positions.

    Raises:
        InputError: another kind of shape, a mesh without triangles, positions with NaN or Inf, or a comment that is not
            one line of ASCII.
    """
    path = Path(path)
    shape = _paintable(path, shape)
    if stored_from_user is not None:
        shape, comments = stored_from_user.apply(shape), (*comments, stored_from_user.to_line())
    places = (shape.points if isinstance(shape, PointCloud) else shape.vertices).detach().cpu()
    if not bool(places.isfinite().all()):
        raise InputError(f"{path}: positions with NaN or Inf; expected finite numbers")
    named, kind = ("double", "<f8") if error_of_float32(places) else ("float", "<f4")
    if bad := [line for line in (unit, *comments) if not line.isascii() or not line.isprintable()]:
        raise InputError(f"{path}: comment {bad[0]!r}; expected one line of ASCII")
    properties = [f"{named} {axis}" for axis in "xyz"]
    fields: list[tuple[str, str, int]] = [("xyz", kind, 3)]
    normals = shape.normals if isinstance(shape, PointCloud) else None
    if normals is not None:
        properties += [f"float {axis}" for axis in _NORMAL]
        fields.append(("normal", "<f4", 3))
    if shape.colors is not None:
        properties += [f"uchar {name}" for name in ("red", "green", "blue")]
        fields.append(("rgb", "u1", 3))
    vertices = np.zeros(len(places), fields)
    vertices["xyz"] = places.numpy()
    if normals is not None:
        vertices["normal"] = normals.detach().cpu().float().nan_to_num().numpy()
    if shape.colors is not None:
        colors = shape.colors.detach().cpu()
        vertices["rgb"] = (colors.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    elements, data = [("vertex", len(places), properties)], vertices.tobytes()
    if isinstance(shape, Mesh):
        elements.append(("face", len(shape.faces), ["list uchar int vertex_indices"]))
        faces = np.zeros(len(shape.faces), [("count", "u1"), ("vertices", "<i4", 3)])
        faces["count"], faces["vertices"] = 3, shape.faces.cpu().numpy()
        data += faces.tobytes()
    # Written words do not change with our spelling: equal worlds give equal bytes.
    write_file(path, ply_header([f"right-handed, z up, {unit}; colours sRGB", *comments], elements) + data)


def ply_header(comments: Iterable[str], elements: Iterable[tuple[str, int, Iterable[str]]]) -> bytes:
    """The header of a binary PLY: comments after the generator's, then elements with their count and properties."""
    lines = ["ply", "format binary_little_endian 1.0", "comment generator worldgen"]
    lines += [f"comment {line}" for line in comments]
    for name, count, properties in elements:
        lines += [f"element {name} {count}", *(f"property {declared}" for declared in properties)]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def read_ply(path: Path | str, drop_nonfinite: bool = False) -> PointCloud | Mesh:
    """Read a point cloud or mesh from PLY, ASCII or binary.

    Colors come from red, green and blue, r, g and b, or diffuse_red, diffuse_green and diffuse_blue, as sRGB in 0..1:
    whole numbers over the largest of their type, floats in 0..1 as they are. What says otherwise is taken as of 8 bits,
    with a note: floats of 0 to 255, and wider whole numbers that stay below 256. Polygons are cut into fans from their
    first corner, which is right for convex ones. Normals of a cloud come from nx, ny, nz. What else a file holds is
    left out, with a note where it carries meaning.

    Args:
        path: the file.
        drop_nonfinite: leave out points (and the faces at them) whose position or normal has NaN or Inf, with a note of
            their number, instead of refusing the file.

    Returns:
        A mesh where the file has faces, else a point cloud (gray 0.7 where it has no colors). Positions are float32;
        float64 where the file has doubles or 32-bit whole numbers, or where a world to store in is undone.

    Raises:
        InputError: the file is missing, empty, truncated or not PLY, positions are missing, NaN or Inf, colors are in
            no known range, or faces name missing vertices.
    """
    path = Path(path)
    tables = ply_tables(path, ("vertex", "face"))
    stored = Similarity.from_lines(tables.comments, str(path))
    shape = _shape(path, tables, drop_nonfinite)
    return shape if stored is None else stored.undo(shape)


def _shape(path: Path, tables: PlyTables, drop: bool) -> PointCloud | Mesh:
    vertices, faces = tables.columns.get("vertex", {}), _faces(tables)
    if not set(_PLACE) <= set(vertices):
        raise InputError(f"{path}: no vertices with x, y and z; expected a point cloud or mesh")
    if {"f_dc_0", "opacity", "scale_0", "rot_0"} <= set(vertices):
        raise InputError(f"{path}: 3D Gaussians; expected points or a mesh (geometry.io.assets.splats.read_splats)")
    points = _vectors(vertices, _PLACE)
    triangles, corners = _triangles(path, faces)
    normals = _vectors(vertices, _NORMAL).float() if triangles is None and set(_NORMAL) <= set(vertices) else None
    named = next((names for names in _COLORS if set(names) <= set(vertices)), None)
    colors = None if named is None else _colors(path, [vertices[name] for name in named])
    _tell_what_is_left_out(path, tables, {*_PLACE, *_NORMAL, *(named or ())}, corners)
    whole = points.isfinite().all(-1)
    whole = whole if normals is None else whole & normals.isfinite().all(-1)
    if not bool(whole.all()):
        seen = f"{int((~whole).sum())} of {len(whole)} points with NaN or Inf"
        if not drop:
            raise InputError(f"{path}: {seen}; expected finite numbers (drop_nonfinite=True leaves such points out)")
        note(f"{path}: {seen} are left out")
    if triangles is None:
        cloud = PointCloud(points, torch.full_like(points, GRAY).float() if colors is None else colors, normals)
        return cloud if bool(whole.all()) else cloud[whole]
    try:
        mesh = Mesh(points, triangles, colors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return mesh if bool(whole.all()) else _without(mesh, ~whole)


def _faces(tables: PlyTables) -> dict[str, Column]:
    """The properties of the faces; none where a point cloud declares 0 faces."""
    count = next((element.count for element in tables.elements if element.name == "face"), 0)
    return tables.columns["face"] if count else {}


def _without(mesh: Mesh, gone: torch.Tensor) -> Mesh:
    """A mesh without some of its vertices and the faces at them."""
    index = (~gone).cumsum(0) - 1
    faces = index[mesh.faces[~gone[mesh.faces].any(-1)]]
    return Mesh(mesh.vertices[~gone], faces, None if mesh.colors is None else mesh.colors[~gone])


def _vectors(columns: dict[str, Column], names: Iterable[str]) -> Float[torch.Tensor, "n 3"]:
    """Three properties [n, 3]: float32, or float64 where one is of a type that float32 does not hold."""
    values = [columns[name].values for name in names]
    return torch.from_numpy(np.stack(values, -1).astype(np.result_type(np.float32, *values)))


def _triangles(path: Path, columns: dict[str, Column]) -> tuple[torch.Tensor | None, str]:
    """Corners [t, 3] of the faces cut into fans, None without faces; and the property that has them."""
    lists = [name for name, column in columns.items() if column.counts is not None and column.kind[0] != "f"]
    name = next((known for known in _CORNERS if known in lists), lists[0] if len(lists) == 1 else "")
    if not columns:
        return None, name
    if not name:
        raise InputError(f"{path}: faces with {', '.join(columns)[:60]}; expected a list vertex_indices")
    counts, corners = columns[name].counts, columns[name].values.astype(np.int64)
    assert counts is not None
    if (flat := int((counts < 3).sum())) == len(counts) or not counts.all():
        raise InputError(f"{path}: faces of {counts.min()} to {counts.max()} corners; expected triangles or polygons")
    if flat:
        note(f"{path}: {flat} of {len(counts)} faces with fewer than 3 corners are left out")
    fans = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, fans)
    nth = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    return torch.from_numpy(corners[np.stack([first, first + nth + 1, first + nth + 2], -1)]), name


def _colors(path: Path, columns: list[Column]) -> Float[torch.Tensor, "n 3"]:
    """sRGB in 0..1, float32, of three properties of a type."""
    kinds = {column.kind for column in columns}
    if len(kinds) > 1 or any(column.counts is not None for column in columns):
        raise InputError(f"{path}: colors of types {', '.join(sorted(kinds))}, or lists; expected one type of numbers")
    return unit_colors(str(path), np.stack([column.values for column in columns], -1), np.dtype(kinds.pop()))


def _tell_what_is_left_out(path: Path, tables: PlyTables, read: set[str], corners: str) -> None:
    """One note of all properties and elements that carry meaning and are not read."""
    vertices = tables.columns.get("vertex", {})
    opaque = {name for name in _OPACITY if name in vertices and _is_opaque(vertices[name])}
    left = [name for name in vertices if name not in read | opaque and name.lower() not in _HARMLESS]
    left += [f"{name} of faces" for name in _faces(tables) if name != corners and name.lower() not in _HARMLESS]
    left += [f"{e.count} x {e.name}" for e in tables.elements if e.name not in ("vertex", "face") and e.count]
    left += [line for line in tables.comments if line.startswith("TextureFile")]
    if left:
        note(f"{path}: left out: {', '.join(left)[:200]}")


def _is_opaque(column: Column) -> bool:
    full = 1 if column.kind[0] == "f" else np.iinfo(column.kind).max
    return bool((column.values >= full).all())


def _paintable(path: Path, shape: object) -> PointCloud | Mesh:
    """The shape as PLY has it: with the colors of a texture at its vertices."""
    if isinstance(shape, TexturedMesh):
        note(f"{path}: PLY has no textures; its colors at the vertices are written (GLB, OBJ and USD keep it)")
        colors = sample_across(shape.texture, 2 * shape.uv.to(shape.texture) - 1).mT
        shape = Mesh(shape.mesh.vertices, shape.mesh.faces, colors.to(shape.mesh.vertices.dtype))
    if isinstance(shape, Mesh) and not len(shape.faces):
        raise InputError(f"{path}: a mesh without triangles; expected at least one")
    if not isinstance(shape, PointCloud | Mesh):
        raise InputError(f"{path}: a {type(shape).__name__}; expected a PointCloud, Mesh or TexturedMesh")
    return shape
