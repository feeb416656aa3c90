"""Finding captures: the posed images in a file or folder, in any of the formats of `geometry.io.formats`."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.files import exists
from geometry.io.formats import CaptureReader, captures_of, listed
from geometry.io.video import read_mp4_at
from geometry.shapes import Float
from geometry.values import as_value


@as_value
@dataclass(frozen=True)
class Capture:
    """Posed images of one place or drive.

    Attributes:
        name: Unique among the captures found together; letters, digits, - and _.
        kind: The name of its format.
        path: The file or folder.
        read: Reads it, and raises InputError where it is broken.
    """

    name: str
    kind: str
    path: Path
    read: Callable[[], PosedImages]


def find_captures(path: Path, skip_missing: bool = False) -> list[Capture]:
    """All captures in a file or folder and the folders within; none is read yet.

    The formats are those of `geometry.io.formats.FORMATS` that hold posed images, recognized by content. A dataset of
    several scenes is one capture each.

    Args:
        path: The file or folder.
        skip_missing: Whether the captures are read without the images that are missing, and say so in a note.

    Returns:
        The captures, ordered by name.

    Raises:
        InputError: No such path, no capture in it, or a folder in it that cannot be read.
    """
    if not exists(path, listed("posed images")):
        raise InputError(f"{path}: no such file or folder; expected {listed('posed images')}")
    try:
        found = list(_in_folder(path, set()) if path.is_dir() else _at(path))
    except OSError as error:
        where = error.filename or path
        raise InputError(f"{where}: cannot be read ({error.strerror}); expected folders one can read") from error
    if not found:
        raise InputError(f"{path}: no capture found; expected {listed('posed images')}")
    names: dict[str, int] = {}
    result = []
    root = path if path.is_dir() else path.parent
    for file, kind, label, read in found:
        place = file.relative_to(root).with_suffix("") if file != root else Path()  # also of links that lead out
        name = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((root.resolve().name, *place.parts, label))).strip("-").lower()
        names[name] = names.get(name, 0) + 1
        reader = partial(read, skip_missing=True) if skip_missing else read
        result.append(Capture(name if names[name] == 1 else f"{name}-{names[name]}", kind, file, reader))
    return sorted(result, key=lambda capture: capture.name)


def read_images(images: list[PosedImage]) -> Iterator[Float[torch.Tensor, "3 h w"]]:
    """The images in order; a pass over a video reads up to 64 frames. Raises InputError where one cannot be read."""
    at = 0
    while at < len(images):
        first, end = images[at], at + 1
        if first.video_s is None or first.path is None:
            yield first.read()
        else:
            while end < len(images) and end - at < 64 and images[end].path == first.path:
                end += 1
            times = [image.video_s or 0.0 for image in images[at:end]]
            for image, rgb in zip(images[at:end], read_mp4_at(first.path, times)):
                yield image.checked(rgb)
        at = end


def _in_folder(folder: Path, seen: set[str]) -> Iterator[tuple[Path, str, str, CaptureReader]]:
    """What the folder itself is, or else the files in it, or else the folders in it; each once, links may go round."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    if is_capture := list(_at(folder)):
        yield from is_capture
        return
    children = sorted(folder.iterdir())
    within = [found for child in children if child.is_file() for found in _at(child)]
    if not within:
        folders = (child for child in children if child.is_dir() and not child.name.startswith("."))
        within = [found for child in folders for found in _in_folder(child, seen)]
    yield from within


def _at(path: Path) -> Iterator[tuple[Path, str, str, CaptureReader]]:
    """The captures that a file or folder is, each with its place, format, label and reader."""
    kind, found = captures_of(path) or ("", [])
    yield from ((path, kind, label, read) for label, read in found)
