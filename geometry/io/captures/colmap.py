"""COLMAP models as posed images with points and tracks.

Poses are camera-from-world, quaternions (w, x, y, z), axes OpenCV, and the corner of the image is (0, 0): our rules
but for the direction. World axes and scale are arbitrary.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError, note
from geometry.io.captures.colmap_tables import MODELS, CameraRow, ImageRow, model_suffix, read_tables
from geometry.io.captures.posed import PosedImage, PosedImages, fit_sizes, require_images
from geometry.io.entries import listed_file
from geometry.io.files import read_json
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float, Int, UInt8
from geometry.similarity import Similarity
from geometry.values import as_value

SIMILARITY = "stored_from_user.json"  # beside the model, since COLMAP has no place for it


@as_value
@dataclass(frozen=True)
class ColmapModel:
    """A reconstruction.

    Attributes:
        images: in the order of their ids.
        points: [n, 3] float64, in the world of the poses.
        colors: [n, 3] sRGB 0..255.
        observed_uv: a tensor [m, 2] float64 for each image: pixels of its features.
        observed: a tensor [m] for each image: the point of each feature, -1 for none.
    """

    images: PosedImages
    points: Float[torch.Tensor, "n 3"]
    colors: UInt8[torch.Tensor, "n 3"]
    observed_uv: tuple[Float[torch.Tensor, "_ 2"], ...]
    observed: tuple[Int[torch.Tensor, "_"], ...]


def is_colmap_capture(folder: Path) -> bool:
    """Whether a folder holds a model with its images, where `read_colmap_images` looks for them."""
    model = _model_folder(folder)
    return model is not None and _image_folder(folder, model) is not None


def read_colmap_images(folder: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read the posed images of a COLMAP capture or model.

    Args:
        folder: of a capture, with the model in `sparse/0` or `sparse` or itself one, and beside it `images`, or else
            `images_2`, `images_4` or `images_8`; without `need_images` of a model.
        need_images: whether every image must be there, in the size the model says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images in the order of their ids.

    Raises:
        InputError: as `read_colmap` raises it.
    """
    folder = Path(folder)
    model = _model_folder(folder) or folder
    siblings = [f.name for f in model.parent.iterdir() if model_suffix(f) is not None] if model.name == "0" else []
    if siblings[1:]:
        note(f"{folder}: {len(siblings)} models in {model.parent.name}; only {model.name} is read")
    return read_colmap(model, _image_folder(folder, model), need_images, skip_missing).images


def _model_folder(folder: Path) -> Path | None:
    """Where the model of a capture is."""
    places = (folder / "sparse/0", folder / "sparse", folder)
    return next((place for place in places if model_suffix(place) is not None), None)


def _image_folder(folder: Path, model: Path) -> Path | None:
    """Where the images of a capture are."""
    beside = folder.parent if model == folder else folder
    names = ("images", *(f"images_{n}" for n in (2, 4, 8)))
    return next((beside / name for name in names if (beside / name).is_dir()), None)


def read_colmap(
    folder: Path | str, image_folder: Path | None = None, need_images: bool = True, skip_missing: bool = False
) -> ColmapModel:
    """Read a COLMAP model, binary where both are there; without points where points3D is empty or missing.

    A `stored_from_user.json` beside the model, as `write_colmap` leaves one, is undone: poses and points come in the
    user's world.

    Args:
        folder: of the model's files.
        image_folder: of the images; their names in the model may hold folders of their own.
        need_images: whether every image must be there, in the size the model says or resized from it; else missing
            ones get no path.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images with their cameras, the points, and their tracks.

    Raises:
        InputError: files are missing, truncated or damaged, lenses that `geometry.camera.lenses` does not have, unknown
            ids, or names outside the folder of images; the message names file and place.
    """
    folder = Path(folder)
    tables = read_tables(folder)
    images, points, paths = tables.images, tables.points, tables.paths
    root = image_folder.resolve() if image_folder is not None else None
    if (need_images or skip_missing) and root is None:
        raise InputError(f"{folder}: no folder of images; expected one called images beside the model")
    where = {i: f"{paths['images']}: image {i} ({images[i].name[:80]})" for i in sorted(images)}
    found = {i: _image(root, images[i].name, where[i]) if root is not None else None for i in where}
    if need_images or skip_missing:
        missing = [images[i].name for i, path in found.items() if path is None]
        require_images(missing, len(images), str(paths["images"]), root, skip_missing)
        found = {i: path for i, path in found.items() if path is not None}
    order = list(found)
    frames = fit_sizes([_frame(images[i], tables.cameras, found[i], where[i]) for i in order], str(paths["images"]))
    row_of = {point: row for row, point in enumerate(points)}
    observed = [torch.tensor([row_of.get(int(p), -1) for p in images[i].points], dtype=torch.long) for i in order]
    values = np.array(list(points.values()), np.float64).reshape(-1, 6)
    if not np.isfinite(values).all():
        raise InputError(f"{paths['points3D']}: points with NaN or Inf; expected finite numbers")
    positions, moved = torch.from_numpy(values[:, :3].copy()), similarity_of(folder)
    if moved is not None:
        positions, frames = moved.inverse().points(positions), tuple(frame.moved(moved.inverse()) for frame in frames)
    return ColmapModel(
        PosedImages(frames, moved or Similarity.identity()),
        positions,
        torch.from_numpy(values[:, 3:].clip(0, 255).astype(np.uint8)),
        tuple(torch.from_numpy(np.array(images[i].uv, np.float64)).reshape(-1, 2) for i in order),
        tuple(observed),
    )


def _image(root: Path, name: str, where: str) -> Path | None:
    """The image of that name in the folder of images, or else beside it, where names that say the folder too are."""
    return listed_file(root, name, where) or listed_file(root.parent, name, where)


def similarity_of(folder: Path) -> Similarity | None:
    """What was done to the user's world to get a model, where its folder says so."""
    path = folder / SIMILARITY
    return Similarity.from_json(read_json(path, "a similarity"), str(path)) if path.exists() else None


def _frame(image: ImageRow, cameras: dict[int, CameraRow], path: Path | None, where: str) -> PosedImage:
    if image.camera not in cameras:
        raise InputError(f"{where}: camera {image.camera}; expected one of {sorted(cameras)[:9]}")
    camera = cameras[image.camera]
    K, lens = _lens(camera, where)
    pose = pose_of([*image.wxyz, *image.translation], where)
    return PosedImage(image.name, path, invert_rigid(pose), K, camera.hw, lens, view=image.camera)


def pose_of(values: list[float], where: str) -> Float[torch.Tensor, "4 4"]:
    """A rigid motion from a quaternion wxyz of about any length and a translation. Raises InputError otherwise."""
    quaternion, translation = torch.tensor(values, dtype=torch.float64).split([4, 3])
    if not (bool(translation.isfinite().all()) and 1e-6 < float(quaternion.norm()) < 1e6):
        raise InputError(f"{where}: pose {values}; expected a quaternion and a translation")
    return rigid(matrix_from_quaternion_wxyz(quaternion / quaternion.norm()), translation)


def _lens(camera: CameraRow, where: str) -> tuple[Float[torch.Tensor, "3 3"], Lens | None]:
    by_name = dict(MODELS.values())
    names = by_name.get(camera.model)
    if names is None:
        raise InputError(f"{where}: lens {camera.model}; expected one of {', '.join(by_name)}")
    if len(camera.values) != len(names.split()) or not np.isfinite(camera.values).all():
        raise InputError(f"{where}: {camera.model} with {camera.values}; expected finite {names}")
    value = dict(zip(names.split(), camera.values))
    if camera.model == "EQUIRECTANGULAR":  # a whole panorama, forward in the middle
        value |= {"fx": value["w"] / math.tau, "fy": value["h"] / math.pi, "cx": value["w"] / 2, "cy": value["h"] / 2}
    fx, fy = (value.get(key, value.get("f", 0.0)) for key in ("fx", "fy"))
    if not (fx > 0 and fy > 0):
        raise InputError(f"{where}: focal lengths {fx:g} {fy:g}; expected more than 0 pixels")
    K = torch.tensor([[fx, 0, value["cx"]], [0, fy, value["cy"]], [0, 0, 1]], dtype=torch.float64)
    kind, keys = LensKind.OPENCV, "k1 k2 p1 p2 k3 k4 k5 k6"
    if camera.model.endswith("FISHEYE"):
        kind, keys = LensKind.FISHEYE, "k1 k2 k3 k4"
    elif camera.model == "EQUIRECTANGULAR":
        kind, keys = LensKind.EQUIRECTANGULAR, ""
    coefficients = torch.tensor([value.get(key, 0.0) for key in keys.split()], dtype=torch.float64)
    bent = kind != LensKind.OPENCV or bool(coefficients.any())
    return K, Lens.of(kind, coefficients) if bent else None
