"""LLFF captures: `poses_bounds.npy` with a folder of images.

A row for each image in the order of names: 3x5 numbers [R | t | height, width, focal length], camera to world with axes
(down, right, backwards), then the nearest and farthest depth, which nothing here needs. The principal point is the
middle of the image; units are arbitrary.
"""

from pathlib import Path

import numpy as np
import torch

from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages, settled, whole_size
from geometry.io.entries import rigid_rows
from geometry.io.files import check_file
from geometry.io.images import SUFFIXES

_NAME = "poses_bounds.npy"
_FOLDERS = ("images", "images_4", "images_8", "images_2")
_MAX_BYTES = 100_000_000


def is_llff(path: Path) -> bool:
    """Whether a path is such a file or the folder of one."""
    return path.name == _NAME or (path / _NAME).is_file()


def read_llff(path: Path | str, need_images: bool = True) -> PosedImages:
    """Read an LLFF capture.

    Args:
        path: the folder, or its poses_bounds.npy; images are in its folder `images`, or smaller ones in `images_4`,
            `images_8` or `images_2`.
        need_images: whether there must be an image for every row; else they get no path where there are others.

    Returns:
        The images in the order of their names.

    Raises:
        InputError: the file is not such an array, or there are not as many images as rows, or of other proportions.
    """
    path = Path(path)
    path = path / _NAME if path.is_dir() else path
    check_file(path, "poses and bounds of LLFF", _MAX_BYTES)
    try:
        rows = np.load(path, allow_pickle=False).astype(np.float64)
    except Exception as error:  # a broken file can raise nearly anything
        raise InputError(f"{path}: not an array of numbers; expected {_NAME} of LLFF") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows) or not np.isfinite(rows).all():
        raise InputError(f"{path}: {rows.dtype} {list(rows.shape)}, or NaN or Inf; expected finite rows of 17 numbers")
    folder = next((path.parent / name for name in _FOLDERS if (path.parent / name).is_dir()), path.parent / "images")
    found = _image_files(folder)
    if len(found) != len(rows):
        if need_images:
            raise InputError(f"{folder}: {len(found)} images for {len(rows)} poses; expected one each")
        found = []
    frames = []
    for n, row in enumerate(rows):
        where = f"{path}: row {n}"
        matrix = row[:15].reshape(3, 5)
        height, width, focal = matrix[:, 4].tolist()
        if not focal > 0:
            raise InputError(f"{where}: focal length {focal:g}; expected more than 0 pixels")
        opencv = np.stack([matrix[:, 1], matrix[:, 0], -matrix[:, 2], matrix[:, 3]], 1)
        hw = whole_size([round(height), round(width)], where)
        K = torch.tensor([[focal, 0, hw[1] / 2], [0, focal, hw[0] / 2], [0, 0, 1]], dtype=torch.float64)
        name = f"{folder.name}/{found[n].name}" if found else f"images/{n:05d}.png"
        frames.append(PosedImage(name, found[n] if found else None, rigid_rows(opencv.tolist(), where), K, hw))
    return PosedImages(settled(frames, str(path), folder, need_images))


def _image_files(folder: Path) -> list[Path]:
    """The images in a folder by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(f.absolute() for f in folder.iterdir() if f.suffix.lower() in (".png", *SUFFIXES) and f.is_file())
