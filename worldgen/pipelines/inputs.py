"""From a user's images and cameras to square frames of the model's size; intrinsics follow every step."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import LensKind
from geometry.errors import InputError
from geometry.image.coercion import ImageLike, as_frames, as_image, is_pil, tensor_of
from geometry.image.framing import DETAIL, square
from geometry.io.captures.posed import PosedImage, PosedImages, near_origin
from geometry.io.formats import read
from geometry.io.images import SUFFIXES, image_hw, read_exif_fov, read_image
from geometry.io.video import read_mp4
from geometry.similarity import Similarity
from geometry.trajectory.checks import float32_holds
from geometry.values import as_value
from worldgen.core.clip import Clip

DEFAULT_FOV_DEG = 55.0

_VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")

ImageInput = Path | str | ImageLike


@as_value
@dataclass(frozen=True)
class Inputs:
    """What an orbit starts from, at the model's size.

    given     the images, depth unknown (0); poses are meaningless unless `posed`
    posed     whether the cameras came with poses
    held_out  further images of the same capture, kept back as truth, or None
    names     of the given images, and `held_out_names` of the others
    notes     what was done to them, for the manifest
    near_from_user  what was done to the world so that float32 holds its cameras
    """

    given: Clip
    posed: bool
    names: tuple[str, ...]
    held_out: Clip | None = None
    held_out_names: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    near_from_user: Similarity = field(default_factory=Similarity.identity)

    def facts(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {
            "inputs": {"names": list(self.names), "posed": self.posed, **self.notes},
            "frame": "the capture's own" if self.posed else "z up, origin at the pivot, the picture at azimuth 0",
        } | ({} if self.near_from_user.is_identity else {"origin": (-self.near_from_user.translation).tolist()})


def read_inputs(
    images: ImageInput | Sequence[ImageInput],
    cameras: Path | str | Cameras | None,
    fov_deg: float | None,
    fit: str,
    size_px: int,
    skip_missing: bool = False,
) -> Inputs:
    """Read, undistort, square and resize images.

    Args:
        images: One image or several: files (also a folder of images, or a video), or images that `geometry.as_image`
            takes; frames [g, 3, h, w] are g images.
        cameras: A transforms.json or other capture that names each image (its other images become held-out truth), a
            file of poses or Cameras [g] of the images, in their order, or None for one image.
        fov_deg: Field of view over the shorter side of one image without cameras (else its EXIF, else 55 degrees), and
            of images with poses from a file that says nothing of it.
        fit: "crop" to the center square, or "pad" to a square by repeating the border.
        size_px: Side of the squares.
        skip_missing: Whether images that the capture names and that are missing are left out, with a note.

    Returns:
        The images with their cameras (float32, and near the origin where the user's are too far from it for that), and
        what is held out.

    Raises:
        InputError: For anything that does not fit together.
    """
    if fit not in ("crop", "pad"):
        raise InputError(f"fit {fit!r}; expected crop or pad")
    listed = image_list(images)
    if isinstance(cameras, str | Path):
        return _from_capture([_path(p) for p in listed], Path(cameras), fov_deg, fit, size_px, skip_missing)
    if isinstance(cameras, Cameras):
        return _from_cameras(listed, cameras, fit, size_px)
    first, *others = listed
    if others:
        raise InputError(
            f"{len(listed)} images without cameras; expected one image, or `cameras=` a transforms.json or Cameras: "
            "COLMAP finds those of a set of photos (`ns-process-data images` of nerfstudio writes a transforms.json)"
        )
    return _from_one(first, fov_deg, fit, size_px)


def image_list(images: ImageInput | Sequence[ImageInput]) -> tuple[ImageInput, ...]:
    """The images one by one: of a folder in the order of their names, of a video its frames.

    Raises InputError for none, and for a folder without images.
    """
    several = isinstance(images, list | tuple) and not any(isinstance(x, list | tuple | int | float) for x in images)
    given: Any = images if several else [images]
    listed = [found for image in given for found in _each(image)]
    if not listed:
        raise InputError("no images; expected at least one")
    return tuple(listed)


def _each(image: Any) -> list[ImageInput]:
    """What may be one image, or several: a folder, a video, or frames [g, 3, h, w]."""
    if isinstance(image, str | os.PathLike):
        return _files(Path(image))
    pixels = tensor_of(image, "images", "images") if isinstance(image, list | tuple) else image
    return list(as_frames(pixels, "images")) if getattr(pixels, "ndim", 3) == 4 else [image]


def _files(path: Path) -> list[ImageInput]:
    if path.suffix.lower() in _VIDEOS and path.is_file():
        return list(read_mp4(path))
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", *SUFFIXES) and p.is_file())
    if not found:
        raise InputError(f"{path}: a folder without images; expected files such as .png or .jpg in it")
    return list(found)


def _path(image: ImageInput) -> Path:
    if not isinstance(image, str | os.PathLike):
        raise InputError("an image without a name with a transforms.json; expected files that it names, or Cameras")
    return Path(image)


def _rgb(image: ImageInput, i: int, upright: bool, shorter_side: int | None = None) -> tuple[Tensor, str]:
    """An image, from a file no larger than is enough (`read_image`), and its name.

    The one rule of EXIF orientations: an image with a camera is taken as stored, for calibration ignores the tag, and
    one without is turned upright, as every viewer does (`PosedImage.read` is the rule for captures).
    """
    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), upright=upright, shorter_side=shorter_side), Path(image).name
    if upright and is_pil(image):
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    return as_image(image, f"image {i}"), f"picture {i}"


def _from_one(image: ImageInput, fov_deg: float | None, fit: str, size_px: int) -> Inputs:
    source, exif = "given", None
    rgb, name = _rgb(image, 0, upright=True, shorter_side=DETAIL * size_px)
    hw = (rgb.shape[-2], rgb.shape[-1])
    if isinstance(image, str | os.PathLike):
        digest, hw = hashlib.sha256(Path(image).read_bytes()).hexdigest(), image_hw(image)
        exif = read_exif_fov(image) if fov_deg is None else None
    else:
        name, digest = "picture", _digest(rgb)
    if fov_deg is None:
        fov_deg, source = (exif, "EXIF") if exif is not None else (DEFAULT_FOV_DEG, "default")
    camera = Cameras.from_fov(torch.eye(4)[None], float(fov_deg), hw).resized((rgb.shape[-2], rgb.shape[-1]))
    clip = _clip([square(rgb, camera[0], fit, size_px)])
    notes = {"field_of_view_deg": round(float(fov_deg), 4), "field_of_view_from": source, "sha256": {name: digest}}
    return Inputs(clip, False, (name,), notes=notes | _size_note([hw], fit, size_px))


def _from_cameras(images: Sequence[ImageInput], cameras: Cameras, fit: str, size_px: int) -> Inputs:
    if cameras.shape != (len(images),):
        raise InputError(f"{len(images)} images with cameras of shape {tuple(cameras.shape)}; expected one each")
    moved = Similarity.identity()
    if not float32_holds(cameras.centers):
        moved = replace(moved, translation=-cameras.centers[0].double().cpu())
    cameras = (cameras if moved.is_identity else moved.apply(cameras.to(torch.float64))).to(torch.float32)
    named = [_rgb(image, i, upright=False) for i, image in enumerate(images)]
    rgbs, names = [rgb for rgb, _ in named], tuple(name for _, name in named)
    wrong = [tuple(rgb.shape) for rgb in rgbs if rgb.shape != (3, *cameras.hw)]
    if wrong:
        raise InputError(
            f"an image of shape {wrong[0]} with cameras of size {cameras.hw}; expected (3, h, w) of it, as stored: "
            "with cameras an EXIF orientation does not count"
        )
    clip = _clip([square(rgb, cameras[i], fit, size_px) for i, rgb in enumerate(rgbs)])
    notes = {"sha256": {name: _digest(rgb) for name, rgb in zip(names, rgbs)}}
    return Inputs(clip, True, names, notes=notes | _size_note([cameras.hw], fit, size_px), near_from_user=moved)


def _from_capture(
    paths: list[Path], file: Path, fov_deg: float | None, fit: str, size_px: int, skip_missing: bool
) -> Inputs:
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such image; expected a file that {file} names")
    hw = image_hw(paths[0], upright=False)
    found = read(file, "cameras", skip_missing=skip_missing, fov_deg=fov_deg, hw=hw)
    if not isinstance(found, PosedImages):
        return _from_cameras(paths, found, fit, size_px)
    if all(frame.path is None for frame in found.frames):
        return _from_cameras(paths, found.cameras, fit, size_px)
    frames, moved = near_origin(found.frames)
    by_path = {frame.path.resolve(): frame for frame in frames if frame.path is not None}
    for path in paths:
        if path.resolve() not in by_path:
            raise InputError(f"{path}: no frame of {file} names this image; expected one of its {len(frames)}")
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) != len(resolved):
        raise InputError("the same image is given twice; expected each once")
    given = [by_path[path] for path in resolved]
    rest = [frame for path, frame in by_path.items() if path not in set(resolved)]
    lenses = [LensKind(int(frame.lens.kind)).name for frame in frames if frame.lens is not None]
    kinds = ", ".join(sorted(set(lenses)))
    notes = {
        "undistorted": f"{kinds} lens of {len(lenses)} of {len(frames)} frames" if lenses else "no",
        "sha256": {f.file_path: hashlib.sha256(f.path.read_bytes()).hexdigest() for f in given if f.path is not None},
    }
    notes |= _size_note([frame.hw for frame in given], fit, size_px)
    held_out = _clip([_read(frame, fit, size_px) for frame in rest]) if rest else None
    return Inputs(
        _clip([_read(frame, fit, size_px) for frame in given]),
        True,
        tuple(frame.file_path for frame in given),
        held_out,
        tuple(frame.file_path for frame in rest),
        notes,
        moved,
    )


def _read(frame: PosedImage, fit: str, size_px: int) -> tuple[Tensor, Cameras]:
    enough = frame.shrunk(DETAIL * size_px)
    return square(*enough.flattened(enough.read())[:2], fit, size_px)


def _clip(squares: list[tuple[Tensor, Cameras]]) -> Clip:
    rgb = torch.stack([rgb for rgb, _ in squares])
    cameras = Cameras.cat([camera[None] for _, camera in squares])
    return Clip(rgb, torch.zeros_like(rgb[:, :1]), cameras)


def _size_note(sizes_hw: Sequence[tuple[int, int]], fit: str, size_px: int) -> dict[str, Any]:
    sizes = sorted({f"{width}x{height}" for height, width in sizes_hw})
    return {"size_from": sizes, "size_px": size_px, "fit": fit}


def _digest(rgb: Tensor) -> str:
    return hashlib.sha256(rgb.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()
