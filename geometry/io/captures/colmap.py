"""COLMAP models: cameras, images and points3D, as text or binary (little endian).

Poses are camera-from-world, quaternions (w, x, y, z), axes OpenCV, and the corner of the image is (0, 0): our rules
but for the direction. World axes and scale are arbitrary.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.entries import inside, size_mismatch
from geometry.io.files import read_file, read_json
from geometry.io.images import image_hw
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float, Int, UInt8
from geometry.similarity import Similarity

_MAX_BYTES = 2**31
_MODEL_SUFFIXES = (".bin", ".txt")  # binary where both are there
SIMILARITY = "stored_from_user.json"  # COLMAP has no place for it
# Parameters of the models that `geometry.camera.lenses` has, in COLMAP's order, by COLMAP's number.
_MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy"), 1: ("PINHOLE", "fx fy cx cy"), 2: ("SIMPLE_RADIAL", "f cx cy k1"),
    3: ("RADIAL", "f cx cy k1 k2"), 4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"), 6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1"), 9: ("RADIAL_FISHEYE", "f cx cy k1 k2"),
}  # fmt: skip
# The others, by their number of parameters, so that a file which holds them can be read up to the error.
_OTHERS = {7: ("FOV", 5), 10: ("THIN_PRISM_FISHEYE", 12), 11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16)}


@dataclass(frozen=True)
class ColmapModel:
    """A reconstruction.

    images      in the order of their ids
    points        [n, 3] float64, in the world of the poses
    colors       [n, 3] sRGB 0..255
    observed_uv   a tensor [m, 2] float64 an image: pixels of its features
    observed      a tensor [m] an image: which point each feature is, -1 for none
    """

    images: PosedImages
    points: Float[torch.Tensor, "n 3"]
    colors: UInt8[torch.Tensor, "n 3"]
    observed_uv: tuple[Float[torch.Tensor, "_ 2"], ...]
    observed: tuple[Int[torch.Tensor, "_"], ...]


@dataclass(frozen=True)
class _Camera:
    model: str
    hw: tuple[int, int]
    values: list[float]


@dataclass(frozen=True)
class _Image:
    wxyz: list[float]
    translation: list[float]
    camera: int
    name: str
    uv: np.ndarray
    points: np.ndarray


def is_colmap_capture(folder: Path) -> bool:
    """Whether a folder holds a model with its images, where `read_colmap_images` looks for them."""
    return _capture_folders(folder) is not None


def read_colmap_images(folder: Path | str, need_images: bool = True) -> PosedImages:
    """The posed images of a capture (`sparse/0`, `sparse` or a model itself, with `images` beside it).

    Without `need_images` those of the model in `folder`, whether its images are there or not. Raises InputError as
    `read_colmap` does.
    """
    folder = Path(folder)
    if not need_images:
        return read_colmap(folder, need_images=False).images
    model, images = _capture_folders(folder) or (folder, None)
    return read_colmap(model, images).images


def _capture_folders(folder: Path) -> tuple[Path, Path] | None:
    """Where the model and the images of a capture are."""
    for model, beside in ((folder / "sparse/0", folder), (folder / "sparse", folder), (folder, folder.parent)):
        has_model = any((model / f"images{suffix}").is_file() for suffix in _MODEL_SUFFIXES)
        if has_model and (beside / "images").is_dir():
            return model, beside / "images"
    return None


def read_colmap(folder: Path | str, image_folder: Path | None = None, need_images: bool = True) -> ColmapModel:
    """Read the model in `folder` (binary where both are there).

    image_folder   of the images; their names in the model may hold folders of their own
    need_images  whether every image must be there, in the size the model says; else missing ones get no path

    A `stored_from_user.json` beside the model, as `write_colmap` leaves one, is undone: poses and points come in the
    user's world.

    Raises InputError, naming file and place, for files that are missing, truncated or otherwise wrong, lenses that
    `geometry.camera.lenses` has not, unknown ids, and names out of the folder of the images.
    """
    folder = Path(folder)
    cameras, images, points, paths = tables(folder)
    root = image_folder.resolve() if image_folder is not None else None
    order = sorted(images)
    frames = [_frame(images[i], cameras, root, need_images, f"{paths['images']}: image {i}") for i in order]
    row_of = {point: row for row, point in enumerate(points)}
    observed = [torch.tensor([row_of.get(int(p), -1) for p in images[i].points], dtype=torch.long) for i in order]
    values = np.array(list(points.values()), np.float64).reshape(-1, 6)
    if not np.isfinite(values).all():
        raise InputError(f"{paths['points3D']}: points with NaN or Inf; expected finite numbers")
    positions, moved = torch.from_numpy(values[:, :3].copy()), similarity_of(folder)
    if moved is not None:
        positions, frames = moved.inverse().points(positions), [frame.moved(moved.inverse()) for frame in frames]
    return ColmapModel(
        PosedImages(tuple(frames), moved or Similarity.identity()),
        positions,
        torch.from_numpy(values[:, 3:].clip(0, 255).astype(np.uint8)),
        tuple(torch.from_numpy(np.array(images[i].uv, np.float64)).reshape(-1, 2) for i in order),
        tuple(observed),
    )


def tables(folder: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], dict[str, Path]]:
    """Cameras, images and points by their ids, and the files they stand in by part. Raises InputError as above."""
    suffix = suffix_of(folder)
    paths = {part: folder / f"{part}{suffix}" for part in ("cameras", "images", "points3D")}
    data = {part: read_file(path, "a file of a COLMAP model", _MAX_BYTES) for part, path in paths.items()}
    readers: dict[str, Any] = (
        {"cameras": _binary_cameras, "images": _binary_images, "points3D": _binary_points}
        if suffix == ".bin"
        else {"cameras": _text_cameras, "images": _text_images, "points3D": _text_points}
    )
    cameras, images, points = (parsed(readers[part], data[part], paths[part]) for part in readers)
    if not images:
        raise InputError(f"{paths['images']}: no images; expected at least one")
    return cameras, images, points, paths


def similarity_of(folder: Path) -> Similarity | None:
    """What was done to the user's world to get a model, where its folder says."""
    path = folder / SIMILARITY
    return Similarity.from_json(read_json(path, "a similarity"), str(path)) if path.exists() else None


def suffix_of(folder: Path) -> str:
    """Whether a model is binary or text (binary where both are there). Raises InputError where there is none."""
    suffix = next((s for s in _MODEL_SUFFIXES if (folder / f"images{s}").is_file()), None)
    if suffix is None:
        raise InputError(f"{folder}: no images.bin or images.txt; expected a COLMAP model")
    return suffix


def parsed(reader: Any, data: bytes, path: Path) -> dict[int, Any]:
    """What `reader` makes of a file's bytes. Raises InputError, naming the file, for whatever is wrong with them."""
    try:
        return reader(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, IndexError, OverflowError, struct.error, MemoryError) as error:
        raise InputError(f"{path}: truncated or damaged; expected a file of a COLMAP model") from error


def _frame(image: _Image, cameras: dict[int, _Camera], root: Path | None, need: bool, where: str) -> PosedImage:
    where = f"{where} ({image.name[:80]})"
    if image.camera not in cameras:
        raise InputError(f"{where}: camera {image.camera}; expected one of {sorted(cameras)[:9]}")
    camera = cameras[image.camera]
    path = inside(root, image.name, where) if root is not None else None
    if need and path is None:
        raise InputError(f"{where}: no such image; expected it in {root}")
    if path is not None and image_hw(path, upright=False) != camera.hw:
        raise InputError(size_mismatch(str(path), image_hw(path, upright=False), camera.hw))
    K, lens = _lens(camera, where)
    pose = pose_of([*image.wxyz, *image.translation], where)
    return PosedImage(image.name, path, invert_rigid(pose), K, camera.hw, lens, view=image.camera)


def pose_of(values: list[float], where: str) -> Float[torch.Tensor, "4 4"]:
    """A rigid motion from a quaternion wxyz of about any length and a translation. Raises InputError for none."""
    quaternion, translation = torch.tensor(values, dtype=torch.float64).split([4, 3])
    if not (bool(translation.isfinite().all()) and 1e-6 < float(quaternion.norm()) < 1e6):
        raise InputError(f"{where}: pose {values}; expected a quaternion and a translation")
    return rigid(matrix_from_quaternion_wxyz(quaternion / quaternion.norm()), translation)


def _lens(camera: _Camera, where: str) -> tuple[Float[torch.Tensor, "3 3"], Lens | None]:
    by_name = dict(_MODELS.values())
    names = by_name.get(camera.model)
    if names is None:
        raise InputError(f"{where}: lens {camera.model}; expected one of {', '.join(by_name)}")
    if len(camera.values) != len(names.split()) or not np.isfinite(camera.values).all():
        raise InputError(f"{where}: {camera.model} with {camera.values}; expected finite {names}")
    value = dict(zip(names.split(), camera.values))
    fx, fy = (value.get(key, value.get("f", 0.0)) for key in ("fx", "fy"))
    if not (fx > 0 and fy > 0):
        raise InputError(f"{where}: focal lengths {fx:g} {fy:g}; expected more than 0 pixels")
    K = torch.tensor([[fx, 0, value["cx"]], [0, fy, value["cy"]], [0, 0, 1]], dtype=torch.float64)
    kind, keys = LensKind.OPENCV, "k1 k2 p1 p2 k3 k4 k5 k6"
    if camera.model.endswith("FISHEYE"):
        kind, keys = LensKind.FISHEYE, "k1 k2 k3 k4"
    coefficients = torch.tensor([value.get(key, 0.0) for key in keys.split()], dtype=torch.float64)
    bent = kind == LensKind.FISHEYE or bool(coefficients.any())
    return K, Lens.of(kind, coefficients) if bent else None


def _size(width: int, height: int) -> tuple[int, int]:
    if not (1 <= width <= 2**20 and 1 <= height <= 2**20):
        raise InputError(f"images of {width}x{height} pixels; expected sides of 1 to {2**20}")
    return height, width


def rows_of(data: bytes) -> Iterator[list[str]]:
    """The words of each line of a text file that says something."""
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split()


def _text_cameras(data: bytes) -> dict[int, _Camera]:
    return {
        int(row[0]): _Camera(row[1], _size(int(row[2]), int(row[3])), [float(v) for v in row[4:]])
        for row in rows_of(data)
    }


def _text_images(data: bytes) -> dict[int, _Image]:
    """Two lines an image: its pose and name (which may hold spaces), then its features, none of which is an empty
    line."""
    images: dict[int, _Image] = {}
    lines = iter(line for line in data.decode("utf-8", "replace").splitlines() if not line.startswith("#"))
    for line in lines:
        row = line.split(maxsplit=9)
        if not row:
            continue
        if len(row) < 10:
            raise InputError(f"line {line[:60]!r}; expected 10 entries an image")
        features = np.array(next(lines, "").split(), np.float64).reshape(-1, 3)
        if not np.isfinite(features).all():
            raise InputError(f"features of {row[9][:60]!r} with NaN or Inf; expected finite numbers")
        pose = [float(value) for value in row[1:8]]
        images[int(row[0])] = _Image(pose[:4], pose[4:], int(row[8]), row[9], features[:, :2], features[:, 2])
    return images


def _text_points(data: bytes) -> dict[int, list[float]]:
    points = {int(row[0]): [float(value) for value in row[1:7]] for row in rows_of(data)}
    if any(len(values) != 6 for values in points.values()):
        raise InputError("a point of less than 7 numbers; expected an id, a position and a color")
    return points


class Bytes:
    """Numbers off the front of a binary file; IndexError where it ends too early."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, dtype: np.dtype[Any], count: int) -> np.ndarray:
        if count * dtype.itemsize > len(self.data) - self.at:
            raise IndexError
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values

    def name(self) -> str:
        end = self.data.index(b"\0", self.at)
        name = self.data[self.at : end].decode("utf-8", "replace")
        self.at = end + 1
        return name


def _binary_cameras(data: bytes) -> dict[int, _Camera]:
    source, cameras = Bytes(data), {}
    for _ in range(source.take("Q")[0]):
        number, model, width, height = source.take("iiQQ")
        if model in _MODELS:
            name, count = _MODELS[model][0], len(_MODELS[model][1].split())
        elif model in _OTHERS:
            name, count = _OTHERS[model]
        else:
            raise InputError(f"lens model {model}; expected one COLMAP knows")
        cameras[number] = _Camera(name, _size(width, height), list(source.take(f"{count}d")))
    return cameras


def _binary_images(data: bytes) -> dict[int, _Image]:
    feature = np.dtype([("uv", "<f8", 2), ("point", "<i8")])
    source, images = Bytes(data), {}
    for _ in range(source.take("Q")[0]):
        number, *pose, camera = source.take("i7di")
        name = source.name()
        features = source.array(feature, source.take("Q")[0])
        images[number] = _Image(pose[:4], pose[4:], camera, name, features["uv"], features["point"])
    return images


def _binary_points(data: bytes) -> dict[int, list[float]]:
    source, points = Bytes(data), {}
    for _ in range(source.take("Q")[0]):
        number, *values, _error, track = source.take("Q3d3BdQ")
        source.array(np.dtype("<i4"), 2 * track)
        points[number] = [float(value) for value in values]
    return points
