"""Finding captures: what posed images lie in a file or folder, in any of the formats `geometry.io` reads."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from geometry.errors import InputError
from geometry.io.captures.colmap import read_colmap
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.captures.nuscenes import NuscenesTables, nuscenes_scenes, read_nuscenes_frame
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.captures.realestate10k import read_realestate10k
from geometry.io.files import read_json
from geometry.io.video import read_mp4_at
from geometry.shapes import Float

_EXPECTED = (
    "transforms.json, a COLMAP model, nuScenes tables or frames, DDAD scenes, or RealEstate10K texts with their videos"
)


@dataclass(frozen=True)
class Capture:
    """Posed images of one place or drive.

    name  unique among the captures found together; letters, digits, - and _
    kind  of its format
    read  reads it, and raises InputError where it is broken
    """

    name: str
    kind: str
    path: Path
    read: Callable[[], PosedImages]


def find_captures(path: Path) -> list[Capture]:
    """All captures in a file or folder, folders within included, ordered by name; none is read yet.

    transforms*.json (nerfstudio, instant-ngp, Blender); folders with a COLMAP model (`sparse/0`, `sparse` or itself)
    and `images` beside it; nuScenes datasets (a capture a scene) and frames; DDAD scenes; RealEstate10K texts with a
    video or folder of images of the same name beside them.
    Raises InputError when there is nothing of the kind.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected {_EXPECTED}")
    found = list(_in_folder(path)) if path.is_dir() else list(_in_file(path))
    if not found:
        raise InputError(f"{path}: no capture found; expected {_EXPECTED}")
    names: dict[str, int] = {}
    result = []
    root = path if path.is_dir() else path.parent
    for kind, file, label, read in found:
        place = file.resolve().relative_to(root.resolve()).with_suffix("") if file != root else Path()
        name = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((root.resolve().name, *place.parts, label))).strip("-").lower()
        names[name] = names.get(name, 0) + 1
        result.append(Capture(name if names[name] == 1 else f"{name}-{names[name]}", kind, file, read))
    return sorted(result, key=lambda capture: capture.name)


def read_images(images: list[PosedImage]) -> Iterator[Float[torch.Tensor, "3 h w"]]:
    """The images in order; frames of a video in passes of 64 over it, not one each. Raises InputError."""
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


_Found = tuple[str, Path, str, Callable[[], PosedImages]]


def _in_folder(folder: Path) -> Iterator[_Found]:
    """What the folder itself holds, or else what the ones within do."""
    for model, images in ((folder / "sparse/0", folder), (folder / "sparse", folder), (folder, folder.parent)):
        if any((model / f"images{suffix}").is_file() for suffix in (".bin", ".txt")) and (images / "images").is_dir():
            yield "COLMAP", folder, "", partial(_colmap, model, images / "images")
            return
    if any(folder.glob("v1.0-*/sample_data.json")):
        tables = _Later(folder)
        for scene in nuscenes_scenes(folder):
            yield "nuScenes", folder, scene, partial(tables.scene, scene)
        return
    within: list[_Found] = []
    for child in sorted(folder.iterdir()):
        if child.suffix in (".json", ".txt") and child.is_file():
            within += _in_file(child)
    if not within:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                within += _in_folder(child)
    yield from within


def _in_file(path: Path) -> Iterator[_Found]:
    if path.suffix == ".txt":
        media = (path.with_suffix(".mp4"), path.with_suffix(""))
        if any(m.exists() for m in media):
            yield "RealEstate10K", path, "", partial(read_realestate10k, path)
        return
    if path.suffix != ".json":
        return
    try:
        meta = read_json(path, "a capture", 2**30)
    except InputError:
        return
    keys = set(meta) if isinstance(meta, dict) else set()
    frames = meta["frames"] if "frames" in keys and isinstance(meta["frames"], list) else []
    first = frames[0] if frames and isinstance(frames[0], dict) else {}
    if "transform_matrix" in first:
        yield "transforms.json", path, "", partial(read_transforms, path)
    elif {"cameras", "lidar"} <= keys:
        yield "nuScenes frame", path, "", partial(read_nuscenes_frame, path)
    elif "cameras" in first or {"samples", "data"} <= keys:
        yield "DDAD", path, "", partial(read_ddad, path)


def _colmap(model: Path, images: Path) -> PosedImages:
    return read_colmap(model, images).images


class _Later:
    """A dataset's tables, read once and when first asked for."""

    def __init__(self, root: Path):
        self.root, self.tables = root, None

    def scene(self, name: str) -> PosedImages:
        self.tables = self.tables or NuscenesTables.read(self.root)
        return self.tables.scene(name)
