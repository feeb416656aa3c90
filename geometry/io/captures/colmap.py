"""COLMAP models as posed images with points and tracks.

Poses are camera-from-world, quaternions (w, x, y, z), axes OpenCV, and the corner of the image is (0, 0): our rules
but for the direction. World axes and scale are arbitrary.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError
from geometry.io.captures.colmap_tables import MODELS, CameraRow, ImageRow, model_suffix, read_tables
from geometry.io.captures.posed import PosedImage, PosedImages, size_mismatch
from geometry.io.entries import inside
from geometry.io.files import read_json
from geometry.io.images import image_hw
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float, Int, UInt8
from geometry.similarity import Similarity

SIMILARITY = "stored_from_user.json"  # beside the model, since COLMAP has no place for it


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
    return _capture_folders(folder) is not None


def read_colmap_images(folder: Path | str, need_images: bool = True) -> PosedImages:
    """Read the posed images of a COLMAP capture or model.

    Args:
        folder: of a capture, with the model in `sparse/0` or `sparse` or itself one, and `images` beside it; without
            `need_images` of a model.
        need_images: whether every image must be there, in the size the model says.

    Returns:
        The images in the order of their ids.

    Raises:
        InputError: as `read_colmap` raises it.
    """
    folder = Path(folder)
    if not need_images:
        return read_colmap(folder, need_images=False).images
    model, images = _capture_folders(folder) or (folder, None)
    return read_colmap(model, images).images


def _capture_folders(folder: Path) -> tuple[Path, Path] | None:
    """Where the model and the images of a capture are."""
    for model, beside in ((folder / "sparse/0", folder), (folder / "sparse", folder), (folder, folder.parent)):
        if model_suffix(model) is not None and (beside / "images").is_dir():
            return model, beside / "images"
    return None


def read_colmap(folder: Path | str, image_folder: Path | None = None, need_images: bool = True) -> ColmapModel:
    """Read a COLMAP model, binary where both are there.

    A `stored_from_user.json` beside the model, as `write_colmap` leaves one, is undone: poses and points come in the
    user's world.

    Args:
        folder: of the model's files.
        image_folder: of the images; their names in the model may hold folders of their own.
        need_images: whether every image must be there, in the size the model says; else missing ones get no path.

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
    order = sorted(images)
    frames = [_frame(images[i], tables.cameras, root, need_images, f"{paths['images']}: image {i}") for i in order]
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


def similarity_of(folder: Path) -> Similarity | None:
    """What was done to the user's world to get a model, where its folder says so."""
    path = folder / SIMILARITY
    return Similarity.from_json(read_json(path, "a similarity"), str(path)) if path.exists() else None


def _frame(image: ImageRow, cameras: dict[int, CameraRow], root: Path | None, need: bool, where: str) -> PosedImage:
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
