"""The files of COLMAP models as tables by id: cameras, images and points3D, as text or binary (little endian)."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geometry.errors import InputError
from geometry.io.files import read_file
from geometry.values import as_value

_MAX_BYTES = 2**31
_SUFFIXES = (".bin", ".txt")  # binary where both are there
# Parameters of the models that `geometry.camera.lenses` has, in COLMAP's order, by COLMAP's number.
MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy"), 1: ("PINHOLE", "fx fy cx cy"), 2: ("SIMPLE_RADIAL", "f cx cy k1"),
    3: ("RADIAL", "f cx cy k1 k2"), 4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"), 6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1"), 9: ("RADIAL_FISHEYE", "f cx cy k1 k2"),
    14: ("SIMPLE_FISHEYE", "f cx cy"), 15: ("FISHEYE", "fx fy cx cy"), 17: ("EQUIRECTANGULAR", "w h"),
}  # fmt: skip
# The others, by their number of parameters, so that a file which holds them can be read up to the error.
_OTHERS = {
    7: ("FOV", 5), 10: ("THIN_PRISM_FISHEYE", 12), 11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4), 13: ("DIVISION", 5), 16: ("EUCM", 6),
}  # fmt: skip


@dataclass(frozen=True)
class CameraRow:
    """A camera: the name of its lens model, height and width, and the model's parameters."""

    model: str
    hw: tuple[int, int]
    values: list[float]


@as_value
@dataclass(frozen=True)
class ImageRow:
    """An image: camera_from_world, its camera, its name, and its features with the ids of their points (-1 = none)."""

    wxyz: list[float]
    translation: list[float]
    camera: int
    name: str
    uv: np.ndarray
    points: np.ndarray


@as_value
@dataclass(frozen=True)
class Tables:
    """A model's tables by id (points: x, y, z, red, green, blue), and the paths of their files by part."""

    cameras: dict[int, CameraRow]
    images: dict[int, ImageRow]
    points: dict[int, list[float]]
    paths: dict[str, Path]


def model_suffix(folder: Path) -> str | None:
    """Whether the model in a folder is binary or text (binary where both are there); None where there is none."""
    return next((suffix for suffix in _SUFFIXES if (folder / f"images{suffix}").is_file()), None)


def read_tables(folder: Path) -> Tables:
    """The three tables that every version of COLMAP writes.

    Raises InputError where there is no model, and, naming the file, for one that is missing, truncated or damaged.
    """
    suffix = require_suffix(folder)
    readers: dict[str, Callable[[bytes], dict[int, Any]]] = (
        {"cameras": _binary_cameras, "images": _binary_images, "points3D": _binary_points}
        if suffix == ".bin"
        else {"cameras": _text_cameras, "images": _text_images, "points3D": _text_points}
    )
    paths = {part: folder / f"{part}{suffix}" for part in readers}
    cameras, images = (read_table(readers[part], paths[part]) for part in ("cameras", "images"))
    # Known poses are written with an empty file of points, or none.
    any_points = paths["points3D"].is_file() and paths["points3D"].stat().st_size > 0
    points = read_table(readers["points3D"], paths["points3D"]) if any_points else {}
    if not images:
        raise InputError(f"{paths['images']}: no images; expected at least one")
    return Tables(cameras, images, points, paths)


def require_suffix(folder: Path) -> str:
    """`model_suffix`. Raises InputError where there is no model."""
    if (suffix := model_suffix(folder)) is None:
        raise InputError(f"{folder}: no images.bin or images.txt; expected a COLMAP model")
    return suffix


def read_table(reader: Callable[[bytes], dict[int, Any]], path: Path) -> dict[int, Any]:
    """What `reader` makes of a file's bytes. Raises InputError, naming the file, for whatever is wrong with them."""
    data = read_file(path, "a file of a COLMAP model", _MAX_BYTES)
    try:
        return reader(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, IndexError, OverflowError, struct.error, MemoryError) as error:
        raise InputError(f"{path}: truncated or damaged; expected a file of a COLMAP model") from error


def text_rows(data: bytes) -> Iterator[list[str]]:
    """The words of each line of a text file that is neither empty nor a comment."""
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()


class ByteReader:
    """Numbers off the front of a binary file; IndexError or struct.error where it ends too early."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        """Values of a struct format, little endian."""
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, dtype: np.dtype[Any], count: int) -> np.ndarray:
        """`count` elements of a dtype."""
        if count * dtype.itemsize > len(self.data) - self.at:
            raise IndexError
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values

    def name(self) -> str:
        """Text up to a zero byte."""
        end = self.data.index(b"\0", self.at)
        name = self.data[self.at : end].decode("utf-8", "replace")
        self.at = end + 1
        return name


def _size(width: int, height: int) -> tuple[int, int]:
    if not (1 <= width <= 2**20 and 1 <= height <= 2**20):
        raise InputError(f"images of {width}x{height} pixels; expected sides of 1 to {2**20}")
    return height, width


def _text_cameras(data: bytes) -> dict[int, CameraRow]:
    return {
        int(row[0]): CameraRow(row[1], _size(int(row[2]), int(row[3])), [float(v) for v in row[4:]])
        for row in text_rows(data)
    }


def _text_images(data: bytes) -> dict[int, ImageRow]:
    """Two lines for each image: its pose and name (which may hold spaces), then its features; an empty line where it
    has none."""
    images: dict[int, ImageRow] = {}
    lines = iter(line for line in data.decode("utf-8", "replace").splitlines() if not line.startswith("#"))
    for line in lines:
        row = line.split(maxsplit=9)
        if not row:
            continue
        if len(row) < 10:
            raise InputError(f"line {line[:60]!r}; expected 10 entries for an image")
        features = np.array(next(lines, "").split(), np.float64).reshape(-1, 3)
        if not np.isfinite(features).all():
            raise InputError(f"features of {row[9][:60]!r} with NaN or Inf; expected finite numbers")
        pose = [float(value) for value in row[1:8]]
        images[int(row[0])] = ImageRow(pose[:4], pose[4:], int(row[8]), row[9], features[:, :2], features[:, 2])
    return images


def _text_points(data: bytes) -> dict[int, list[float]]:
    points = {int(row[0]): [float(value) for value in row[1:7]] for row in text_rows(data)}
    if any(len(values) != 6 for values in points.values()):
        raise InputError("a point of less than 7 numbers; expected an id, a position and a color")
    return points


def _binary_cameras(data: bytes) -> dict[int, CameraRow]:
    source, cameras = ByteReader(data), {}
    for _ in range(source.take("Q")[0]):
        number, model, width, height = source.take("iiQQ")
        if model in MODELS:
            name, count = MODELS[model][0], len(MODELS[model][1].split())
        elif model in _OTHERS:
            name, count = _OTHERS[model]
        else:
            raise InputError(f"lens model {model}; expected a number of COLMAP's, 0 to {max(MODELS)}")
        cameras[number] = CameraRow(name, _size(width, height), list(source.take(f"{count}d")))
    return cameras


def _binary_images(data: bytes) -> dict[int, ImageRow]:
    feature = np.dtype([("uv", "<f8", 2), ("point", "<i8")])
    source, images = ByteReader(data), {}
    for _ in range(source.take("Q")[0]):
        number, *pose, camera = source.take("i7di")
        name = source.name()
        features = source.array(feature, source.take("Q")[0])
        images[number] = ImageRow(pose[:4], pose[4:], camera, name, features["uv"], features["point"])
    return images


def _binary_points(data: bytes) -> dict[int, list[float]]:
    source, points = ByteReader(data), {}
    for _ in range(source.take("Q")[0]):
        number, *values, _error, track = source.take("Q3d3BdQ")
        source.array(np.dtype("<i4"), 2 * track)
        points[number] = [float(value) for value in values]
    return points
