"""CO3D's `frame_annotations.jgz`: gzipped JSON with every image of a category, in many sequences.

Cameras are PyTorch3D's (x left, y up, row vectors); every sequence has a world and unit of its own. Masks are outlines
of the object, not of what is known, and depth is stored as half floats: neither is read.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from geometry.camera.tool_parameters import cameras_from_pytorch3d
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages, settled, whole_size
from geometry.io.entries import Keys, entry, listed_file, number, shown
from geometry.io.files import read_file

_MAX_BYTES, _MOST_JSON = 2**30, 2**32
_NDC = ("ndc_norm_image_bounds", "ndc_isotropic")
KEYS = {
    "frame": Keys.of("sequence_name frame_number frame_timestamp image viewpoint", "meta"),
    "image": Keys.of("path size"),
    "viewpoint": Keys.of("R T focal_length principal_point intrinsics_format"),
}


def is_co3d(path: Path) -> bool:
    """Whether a file is a list of annotations, by its name."""
    return path.name in ("frame_annotations.jgz", "frame_annotations.json")


def co3d_captures(path: Path) -> list[tuple[str, Callable[..., PosedImages]]]:
    """The sequences of a category, by name, and what reads each."""
    frames = _frames(path)
    names = dict.fromkeys(str(frame.get("sequence_name")) for frame in frames)
    return [(name, partial(_sequence, path, name, frames)) for name in names]


def read_co3d(
    path: Path | str, sequence: str | None = None, need_images: bool = True, skip_missing: bool = False
) -> PosedImages:
    """Read a sequence of CO3D.

    Args:
        path: frame_annotations.jgz of a category; images are named from the folder above it.
        sequence: its name; needed where there are several.
        need_images: whether every image must be there, in the size the file says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images by their numbers.

    Raises:
        InputError: the file is not such annotations, there is no such sequence, or images are missing.
    """
    path = Path(path)
    return _sequence(path, sequence, _frames(path), need_images, skip_missing)


def _frames(path: Path) -> list[dict[str, Any]]:
    data = read_file(path, "annotations of CO3D", _MAX_BYTES)
    try:
        if data[:2] == b"\x1f\x8b":
            unzip = zlib.decompressobj(31)
            data = unzip.decompress(data, _MOST_JSON)
            if unzip.unconsumed_tail:
                raise InputError(f"{path}: more than {_MOST_JSON} bytes unzipped; expected annotations of CO3D")
        frames = json.loads(data)
    except InputError:
        raise
    except (ValueError, RecursionError, zlib.error, gzip.BadGzipFile, MemoryError) as error:
        raise InputError(f"{path}: not gzipped JSON; expected annotations of CO3D") from error
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path}: no frames; expected a list of annotations of CO3D")
    return frames


def _sequence(
    path: Path, sequence: str | None, frames: list[dict[str, Any]], need_images: bool = True, skip_missing: bool = False
) -> PosedImages:
    names = list(dict.fromkeys(str(frame.get("sequence_name")) for frame in frames))
    if sequence is None and names[1:]:
        raise InputError(f"{path}: {len(names)} sequences; expected one of {', '.join(names[:5])} to be named")
    chosen = [frame for frame in frames if sequence in (None, str(frame.get("sequence_name")))]
    if not chosen:
        raise InputError(f"{path}: no sequence {sequence!r}; expected one of {', '.join(names[:5])}")
    for part, objects in (("frame", chosen), *((key, [f.get(key) for f in chosen]) for key in ("image", "viewpoint"))):
        KEYS[part].check(objects, f"{path}: {part}")
    chosen.sort(key=lambda frame: number(frame.get("frame_number", 0), str(path)))
    root = path.resolve().parents[1]
    found = [_frame(frame, root, f"{path}: {sequence or names[0]}, frame {n}") for n, frame in enumerate(chosen)]
    return PosedImages(settled(found, str(path), root, need_images, skip_missing))


def _frame(frame: dict[str, Any], root: Path, where: str) -> PosedImage:
    image, view = entry(frame, "image", dict, where), entry(frame, "viewpoint", dict, where)
    size = entry(image, "size", list, where)
    hw = whole_size(size if len(size) == 2 else [None, None], where)
    kind = view.get("intrinsics_format", _NDC[0])
    if kind not in _NDC:
        raise InputError(f"{where}: intrinsics_format {shown(kind)}; expected {' or '.join(_NDC)}")
    half = torch.tensor([hw[1] / 2, hw[0] / 2], dtype=torch.float64)
    scale = half if kind == _NDC[0] else half.min().expand(2)
    R, T, focal, middle = (
        _numbers(view.get(key), shape, f"{where}: {key}")
        for key, shape in (("R", (3, 3)), ("T", (3,)), ("focal_length", (2,)), ("principal_point", (2,)))
    )
    camera = cameras_from_pytorch3d(R, T, focal * scale, half - middle * scale, hw, in_ndc=False)
    name, time_s = str(image.get("path")), number(frame.get("frame_timestamp", 0.0), f"{where}: frame_timestamp")
    path = listed_file(root, name, where)
    return PosedImage(name, path, camera.world_from_camera, camera.K, hw, time_s=time_s)


def _numbers(value: Any, shape: tuple[int, ...], where: str) -> torch.Tensor:
    try:
        found = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        found = torch.zeros(0, dtype=torch.float64)
    if tuple(found.shape) != shape or not bool(found.isfinite().all()):
        raise InputError(f"{where} {shown(value)}; expected {'x'.join(map(str, shape))} finite numbers")
    return found
