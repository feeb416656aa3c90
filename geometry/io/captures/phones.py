"""Exports of phone apps: Polycam's raw data and Record3D's EXR + RGB folders.

Both keep ARKit's poses: camera to world, OpenGL axes, metres, world y up, which becomes z up here as nerfstudio turns
it: (x, y, z) -> (z, x, y).

Polycam   keyframes/corrected_cameras/*.json with keyframes/corrected_images, or else cameras and images
Record3D  metadata.json with the folder rgb of numbered images
"""

from pathlib import Path
from typing import Any

import torch

from geometry.conventions import opencv_from_opengl
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages, settled, whole_size
from geometry.io.entries import Keys, entry, json_keys, listed_file, motion_from_quaternion, number, rigid_rows
from geometry.io.files import read_json
from geometry.shapes import Float

_FOLDERS = (("corrected_cameras", "corrected_images"), ("cameras", "images"))
_UP = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
_MATRIX = [[f"t_{row}{column}" for column in range(4)] for row in range(3)]
KEYS = {
    "Polycam": Keys.of(
        f"fx fy cx cy width height timestamp {' '.join(key for row in _MATRIX for key in row)}",
        "blur_score center_depth neighbors manual_keyframe angular_velocity",
    ),
    "Record3D": Keys.of("poses K w h fps", "dw dh initPose cameraType confidence frameTimestamps",
                        perFrameIntrinsicCoeffs="one K for all frames"),
}  # fmt: skip


def is_polycam(folder: Path) -> bool:
    """Whether a folder is the raw data of a Polycam capture."""
    return _polycam(folder) is not None


def is_record3d(path: Path) -> bool:
    """Whether a path is Record3D's metadata or the folder of one."""
    path = path / "metadata.json" if path.is_dir() else path
    return path.name == "metadata.json" and {"poses", "K"} <= json_keys(path)[0]


def _polycam(folder: Path) -> tuple[Path, Path] | None:
    found = ((folder / "keyframes" / a, folder / "keyframes" / b) for a, b in _FOLDERS)
    return next(((a, b) for a, b in found if a.is_dir() and any(a.glob("*.json"))), None)


def read_polycam(folder: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read the raw data of a Polycam capture; the corrected poses where there are some.

    Args:
        folder: that has `keyframes`.
        need_images: whether every image must be there, in the size its file says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images by time stamp, world z up, metres. Depth comes with uncorrected images only.

    Raises:
        InputError: there are no such files, or they lack something.
    """
    folder = Path(folder)
    places = _polycam(folder)
    if places is None:
        raise InputError(f"{folder}: no keyframes/corrected_cameras or keyframes/cameras; expected Polycam's raw data")
    files = sorted(places[0].glob("*.json"))
    data = [read_json(file, "a camera of Polycam") for file in files]
    KEYS["Polycam"].check(data, str(places[0]))
    depths = folder / "keyframes/depth" if places[1].name == "images" else None
    frames = []
    for file, meta in zip(files, data):
        where = str(file)
        value = {key: number(meta.get(key) if isinstance(meta, dict) else None, f"{where}: {key}")
                 for key in ("fx", "fy", "cx", "cy")}  # fmt: skip
        if not (value["fx"] > 0 and value["fy"] > 0):
            raise InputError(f"{where}: focal lengths {value['fx']:g} {value['fy']:g}; expected more than 0 pixels")
        matrix = rigid_rows([[meta.get(key) for key in row] for row in _MATRIX], where)
        hw = whole_size([meta.get("height"), meta.get("width")], where)
        K = torch.tensor([[value["fx"], 0, value["cx"]], [0, value["fy"], value["cy"]], [0, 0, 1]], dtype=torch.float64)
        image = listed_file(places[1].resolve(), file.stem, where)
        name = f"keyframes/{places[1].name}/{file.stem if image is None else image.name}"
        depth = listed_file(depths.resolve(), file.stem, where) if depths is not None and depths.is_dir() else None
        time_s = number(meta.get("timestamp", 0), f"{where}: timestamp") / 1e6
        frames.append(PosedImage(name, image, _upright(matrix), K, hw, None, depth, time_s=time_s))
    return PosedImages(settled(frames, str(places[0]), places[1], need_images, skip_missing))


def read_record3d(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read an export of Record3D.

    Args:
        path: metadata.json, or its folder; images are in `rgb` beside it, called by their numbers.
        need_images: whether every image must be there, in the size the file says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images in order, world z up, metres, at times of the stated frames per second.

    Raises:
        InputError: the file is not such metadata, or images are missing.
    """
    path = Path(path)
    path = path / "metadata.json" if path.is_dir() else path
    meta = read_json(path, "metadata of Record3D", 2**30)
    KEYS["Record3D"].check([meta], str(path))
    poses, values = entry(meta, "poses", list, str(path)), entry(meta, "K", list, str(path))
    if len(values) != 9 or not poses:
        raise InputError(f"{path}: {len(values)} numbers of K and {len(poses)} poses; expected 9, and some")
    K = torch.tensor([number(value, f"{path}: K") for value in values], dtype=torch.float64).reshape(3, 3).T.clone()
    if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2].tolist() == [0, 0, 1]):
        raise InputError(f"{path}: K {K.tolist()}; expected 3x3 numbers by columns, with focal lengths above 0")
    hw = whole_size([meta.get("h"), meta.get("w")], str(path))
    fps = number(meta.get("fps", 30.0), f"{path}: fps")
    if fps <= 0:
        raise InputError(f"{path}: {fps:g} frames per second; expected more than 0")
    root, frames = (path.parent / "rgb").resolve(), []
    for n, pose in enumerate(poses):
        where = f"{path}: pose {n}"
        image = listed_file(root, f"{n}", where)
        frames.append(PosedImage(f"rgb/{n}.jpg", image, _upright(_arkit(pose, where)), K, hw, time_s=n / fps))
    return PosedImages(settled(frames, str(path), root, need_images, skip_missing))


def _arkit(pose: Any, where: str) -> Float[torch.Tensor, "4 4"]:
    """A quaternion xyzw and a position."""
    if not isinstance(pose, list) or len(pose) != 7:
        raise InputError(f"{where}: {len(pose) if isinstance(pose, list) else pose} numbers; expected 7")
    return motion_from_quaternion([pose[3], *pose[:3]], pose[4:], where)


def _upright(matrix: Float[torch.Tensor, "4 4"]) -> Float[torch.Tensor, "4 4"]:
    return _UP @ opencv_from_opengl(matrix)
