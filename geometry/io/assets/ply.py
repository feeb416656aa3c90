"""PLY: point clouds and triangle meshes in the world frame (z up, metres), colors as sRGB bytes.

Files are written as binary, little-endian, with float32 positions. Files of other programs are read too: ASCII or
binary, any scalar types; further vertex properties are ignored.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.errors import InputError
from geometry.io.files import read_file, write_file
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.similarity import Similarity

MAX_BYTES = 4_000_000_000
_MAX_HEADER = 100_000
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_NORMAL = ("nx", "ny", "nz")
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


def write_ply(
    path: Path | str,
    shape: PointCloud | Mesh,
    comments: tuple[str, ...] = (),
    stored_from_user: Similarity | None = None,
) -> None:
    """Write a point cloud or mesh as binary PLY.

    Args:
        path: the file.
        shape: in the world; its colors are stored as sRGB bytes.
        comments: comment lines of the header, after the generator's.
        stored_from_user: the world to store it in, kept as a comment; `read_ply` undoes it.

    Raises:
        InputError: positions with NaN or Inf, or a comment that is not one line of ASCII.
    """
    path = Path(path)
    if stored_from_user is not None:
        shape, comments = stored_from_user.apply(shape), (*comments, stored_from_user.to_line())
    points = (shape.points if isinstance(shape, PointCloud) else shape.vertices).detach().cpu().float().numpy()
    if not np.isfinite(points).all():
        raise InputError(f"{path}: positions with NaN or Inf; expected finite float32")
    if bad := [line for line in comments if not line.isascii() or not line.isprintable()]:
        raise InputError(f"{path}: comment {bad[0]!r}; expected one line of ASCII")
    properties = [f"float {axis}" for axis in "xyz"]
    fields: list[tuple[str, str, int]] = [("xyz", "<f4", 3)]
    normals = shape.normals if isinstance(shape, PointCloud) else None
    if normals is not None:
        properties += [f"float {axis}" for axis in _NORMAL]
        fields.append(("normal", "<f4", 3))
    if shape.colors is not None:
        properties += [f"uchar {name}" for name in ("red", "green", "blue")]
        fields.append(("rgb", "u1", 3))
    vertices = np.zeros(len(points), fields)
    vertices["xyz"] = points
    if normals is not None:
        vertices["normal"] = normals.detach().cpu().float().nan_to_num().numpy()
    if shape.colors is not None:
        colors = shape.colors.detach().cpu()
        vertices["rgb"] = (colors.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    elements, data = [("vertex", len(points), properties)], vertices.tobytes()
    if isinstance(shape, Mesh):
        elements.append(("face", len(shape.faces), ["list uchar int vertex_indices"]))
        faces = np.zeros(len(shape.faces), [("count", "u1"), ("vertices", "<i4", 3)])
        faces["count"], faces["vertices"] = 3, shape.faces.cpu().numpy()
        data += faces.tobytes()
    # Written words do not change with our spelling: equal worlds give equal bytes.
    write_file(path, ply_header(["right-handed, z up, metres; colours sRGB", *comments], elements) + data)


def ply_header(comments: Iterable[str], elements: Iterable[tuple[str, int, Iterable[str]]]) -> bytes:
    """The header of a binary PLY: comments after the generator's, then elements with their count and properties."""
    lines = ["ply", "format binary_little_endian 1.0", "comment generator worldgen"]
    lines += [f"comment {line}" for line in comments]
    for name, count, properties in elements:
        lines += [f"element {name} {count}", *(f"property {declared}" for declared in properties)]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def read_ply(path: Path | str) -> PointCloud | Mesh:
    """Read a point cloud or mesh from PLY, ASCII or binary.

    Colors come from 8-bit red, green and blue, or floats in 0..1, as sRGB in 0..1; normals of a cloud from nx, ny, nz.

    Args:
        path: the file.

    Returns:
        A mesh where the file has faces (triangles only), else a point cloud (gray 0.7 where it has no colors).
        Positions are float32; float64 where a world to store in is undone.

    Raises:
        InputError: the file is missing, empty, truncated or not PLY, positions are missing, NaN or Inf, or faces are
            not triangles or name missing vertices.
    """
    path = Path(path)
    tables, comments = ply_tables(path)
    stored = Similarity.from_lines(comments, str(path))
    shape = _shape(path, tables)
    return shape if stored is None else stored.undo(shape)


def _shape(path: Path, tables: dict[str, np.ndarray]) -> PointCloud | Mesh:
    vertices = tables.get("vertex")
    names = vertices.dtype.names if vertices is not None else None
    if vertices is None or not names or not {"x", "y", "z"} <= set(names):
        raise InputError(f"{path}: no vertices with x, y and z; expected a point cloud or mesh")
    points = _vectors(path, vertices, "xyz", "positions")
    colors = None
    if {"f_dc_0", "opacity", "scale_0", "rot_0"} <= set(names):
        raise InputError(f"{path}: 3D Gaussians; expected points or a mesh (geometry.io.assets.splats.read_splats)")
    if {"red", "green", "blue"} <= set(names):
        rgb = np.stack([vertices[name].astype(np.float32) for name in ("red", "green", "blue")], -1)
        whole = vertices.dtype["red"].kind in "iu"
        colors = (torch.from_numpy(rgb).nan_to_num() / (255 if whole else 1)).clamp(0, 1)
    if "face" not in tables or not len(tables["face"]):
        normals = _vectors(path, vertices, _NORMAL, "normals") if set(_NORMAL) <= set(names) else None
        return PointCloud(points, torch.full_like(points, GRAY) if colors is None else colors, normals)
    faces = torch.from_numpy(tables["face"]["list"].astype(np.int64))
    try:
        return Mesh(points, faces, colors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _vectors(path: Path, vertices: np.ndarray, names: Iterable[str], what: str) -> torch.Tensor:
    """Three properties of the vertices as float32 [n, 3]."""
    vectors = torch.from_numpy(np.stack([vertices[name].astype(np.float32) for name in names], -1))
    if not bool(vectors.isfinite().all()):
        raise InputError(f"{path}: {what} with NaN or Inf; expected finite numbers")
    return vectors


def ply_tables(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Every element's table by its name, and the header's comments. Raises InputError for all but a PLY file."""
    data = read_file(path, "a PLY file", MAX_BYTES)
    order, elements, comments, start = _header(path, data)
    tables: dict[str, np.ndarray] = {}
    body = data[start:].split() if order == "=" else data
    position = 0 if order == "=" else start
    for name, count, fields in elements:
        if isinstance(body, list):
            tables[name], position = _ascii_table(path, body, position, name, count, fields)
        else:
            tables[name], position = _binary_table(path, body, position, name, count, fields, order)
    return tables, comments


_Element = tuple[str, int, list[tuple[str, Any]]]


def _header(path: Path, data: bytes) -> tuple[str, list[_Element], list[str], int]:
    """Byte order ("=" for ASCII), elements with their fields, comments, and where the body starts."""
    end = data.find(b"end_header", 0, _MAX_HEADER)
    start = data.find(b"\n", end) + 1 if end >= 0 else 0
    if not data.startswith(b"ply") or not start:
        raise InputError(f"{path}: no PLY header; expected a PLY file")
    order, elements, comments = "", [], []
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        match line.split():
            case ["format", kind, "1.0"] if kind in _ORDERS:
                order = _ORDERS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                elements.append((name, int(count), []))
            case ["property", kind, name] if kind in _TYPES and elements:
                elements[-1][2].append((name, _TYPES[kind]))
            case ["property", "list", size, kind, _] if size in _TYPES and kind in _TYPES and elements:
                elements[-1][2].extend([("list count", _TYPES[size]), ("list", (_TYPES[kind], 3))])
            case ["comment", *words]:
                comments.append(" ".join(words))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise InputError(f"{path}: header line {line[:60]!r}; expected a PLY header")
    fields = [[name for name, _ in element[2]] for element in elements]
    if any(names.count("list") > 1 for names in fields):
        raise InputError(f"{path}: several lists in an element; expected triangles' corners alone")
    if not order or any(not names or len(set(names)) != len(names) for names in fields):
        raise InputError(f"{path}: header without format or with repeated properties; expected a PLY header")
    return order, elements, comments, start


def _binary_table(
    path: Path, data: bytes, start: int, name: str, count: int, fields: list[tuple[str, Any]], order: str
) -> tuple[np.ndarray, int]:
    kinds = [(key, order + kind) if isinstance(kind, str) else (key, order + kind[0], kind[1]) for key, kind in fields]
    dtype = np.dtype(kinds)
    end = start + count * dtype.itemsize
    if end > len(data) and name in ("vertex", "face"):
        raise InputError(f"{path}: {len(data) - start} bytes for {count} x {name}; expected {end - start}")
    table = np.frombuffer(data, dtype, min(count, (len(data) - start) // dtype.itemsize), start)
    _check_triangles(path, table)
    return table, end


def _ascii_table(
    path: Path, words: list[bytes], start: int, name: str, count: int, fields: list[tuple[str, Any]]
) -> tuple[np.ndarray, int]:
    dtype = np.dtype([(key, kind) if isinstance(kind, str) else (key, *kind) for key, kind in fields])
    width = sum(int(np.prod(dtype[key].shape)) for key in dtype.names or ())
    end = start + count * width
    if end > len(words):
        raise InputError(f"{path}: {len(words) - start} numbers for {count} x {name}; expected {end - start}")
    try:
        numbers = np.array(words[start:end], dtype=np.float64).reshape(count, width)
    except ValueError as error:
        raise InputError(f"{path}: {name} values that are not numbers; expected numbers") from error
    table, column = np.zeros(count, dtype), 0
    for key in dtype.names or ():
        span = int(np.prod(dtype[key].shape))
        table[key] = numbers[:, column : column + span].reshape(table[key].shape)
        column += span
    _check_triangles(path, table)
    return table, end


def _check_triangles(path: Path, table: np.ndarray) -> None:
    if table.dtype.names and "list count" in table.dtype.names and (table["list count"] != 3).any():
        raise InputError(f"{path}: lists of other than 3 entries; expected triangles only")
