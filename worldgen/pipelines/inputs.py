"""From a user's images and cameras to square frames of the model's size; intrinsics follow every step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import LensKind
from geometry.errors import InputError
from geometry.image.framing import square, undistort_and_fill
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.captures.posed import PosedImage
from geometry.io.images import read_exif_fov, read_image
from worldgen.core.clip import Clip

DEFAULT_FOV_DEG = 55.0

ImageInput = Path | str | Tensor


@dataclass(frozen=True)
class Inputs:
    """What an orbit starts from, at the model's size.

    given     the images, depth unknown (0); poses are meaningless unless `posed`
    posed     whether the cameras came with poses
    held_out  further images of the same capture, kept back as truth, or None
    names     of the given images, and `held_out_names` of the others
    notes     what was done to them, for the manifest
    """

    given: Clip
    posed: bool
    names: tuple[str, ...]
    held_out: Clip | None = None
    held_out_names: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {
            "inputs": {"names": list(self.names), "posed": self.posed, **self.notes},
            "frame": "the capture's own" if self.posed else "z up, origin at the pivot, the picture at azimuth 0",
        }


def read_inputs(
    images: Sequence[ImageInput], cameras: Path | str | Cameras | None, fov_deg: float | None, fit: str, size_px: int
) -> Inputs:
    """Read, undistort, square and resize images.

    Args:
        images: Files, or rgb tensors [3, h, w] in 0..1.
        cameras: A transforms.json that names each image (its other frames become held-out truth), Cameras [g] of the
            images, or None for one image.
        fov_deg: Field of view over the shorter side of one image without cameras; else its EXIF, else 55 degrees.
        fit: "crop" to the center square, or "pad" to a square by repeating the border.
        size_px: Side of the squares.

    Returns:
        The images with their cameras, and what is held out.

    Raises:
        InputError: For anything that does not fit together.
    """
    if fit not in ("crop", "pad"):
        raise InputError(f"fit {fit!r}; expected crop or pad")
    if len(images) == 0:
        raise InputError("no images; expected at least one")
    if isinstance(cameras, str | Path):
        return _from_transforms([_path(p) for p in images], Path(cameras), fit, size_px)
    if isinstance(cameras, Cameras):
        return _from_cameras(images, cameras, fit, size_px)
    if len(images) > 1:
        raise InputError(f"{len(images)} images without cameras; expected --cameras transforms.json, or one image")
    return _from_one(images[0], fov_deg, fit, size_px)


def _path(image: ImageInput) -> Path:
    if isinstance(image, Tensor):
        raise InputError("an image tensor with a transforms.json; expected files that it names")
    return Path(image)


def _from_one(image: ImageInput, fov_deg: float | None, fit: str, size_px: int) -> Inputs:
    source, exif = "given", None
    if isinstance(image, Tensor):
        rgb, name, digest = image, "picture", _digest(image)
    else:
        path = Path(image)
        rgb, name, digest = read_image(path), path.name, hashlib.sha256(path.read_bytes()).hexdigest()
        exif = read_exif_fov(path) if fov_deg is None else None
    if fov_deg is None:
        fov_deg, source = (exif, "EXIF") if exif is not None else (DEFAULT_FOV_DEG, "default")
    camera = Cameras.from_fov(torch.eye(4)[None], float(fov_deg), (rgb.shape[-2], rgb.shape[-1]))
    clip = _clip([square(rgb, camera[0], fit, size_px)])
    notes = {"field_of_view_deg": round(float(fov_deg), 4), "field_of_view_from": source, "sha256": {name: digest}}
    return Inputs(clip, False, (name,), notes=notes | _size_note([rgb], fit, size_px))


def _from_cameras(images: Sequence[ImageInput], cameras: Cameras, fit: str, size_px: int) -> Inputs:
    if cameras.shape != (len(images),):
        raise InputError(f"{len(images)} images with cameras of shape {tuple(cameras.shape)}; expected one each")
    rgbs = [p if isinstance(p, Tensor) else read_image(Path(p)) for p in images]
    wrong = [tuple(rgb.shape) for rgb in rgbs if rgb.shape != (3, *cameras.hw)]
    if wrong:
        raise InputError(f"an image of shape {wrong[0]} with cameras of size {cameras.hw}; expected (3, h, w) of it")
    names = tuple(f"picture {i}" if isinstance(p, Tensor) else Path(p).name for i, p in enumerate(images))
    clip = _clip([square(rgb, cameras[i], fit, size_px) for i, rgb in enumerate(rgbs)])
    notes = {"sha256": {name: _digest(rgb) for name, rgb in zip(names, rgbs)}}
    return Inputs(clip, True, names, notes=notes | _size_note(rgbs, fit, size_px))


def _from_transforms(paths: list[Path], file: Path, fit: str, size_px: int) -> Inputs:
    frames = read_transforms(file).frames
    by_path = {frame.path: frame for frame in frames}
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such image")
        if path.resolve() not in by_path:
            raise InputError(f"{path}: no frame of {file} names this image; expected one of its {len(frames)}")
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) != len(resolved):
        raise InputError("the same image is given twice; expected each once")
    given = [by_path[path] for path in resolved]
    rest = [frame for frame in frames if frame.path not in set(resolved)]
    lenses = [LensKind(int(frame.lens.kind)).name for frame in frames if frame.lens is not None]
    kinds = ", ".join(sorted(set(lenses)))
    notes = {
        "undistorted": f"{kinds} lens of {len(lenses)} of {len(frames)} frames" if lenses else "no",
        "sha256": {f.file_path: hashlib.sha256(f.path.read_bytes()).hexdigest() for f in given if f.path is not None},
    }
    pairs = [_read(frame, fit, size_px) for frame in given]
    notes |= _size_note([rgb for rgb, _ in pairs], fit, size_px)
    held_out = _clip([_read(frame, fit, size_px)[1] for frame in rest]) if rest else None
    return Inputs(
        _clip([framed for _, framed in pairs]),
        True,
        tuple(frame.file_path for frame in given),
        held_out,
        tuple(frame.file_path for frame in rest),
        notes,
    )


def _read(frame: PosedImage, fit: str, size_px: int) -> tuple[Tensor, tuple[Tensor, Cameras]]:
    rgb, camera = undistort_and_fill(frame.read(), frame.camera)
    return rgb, square(rgb, camera, fit, size_px)


def _clip(squares: list[tuple[Tensor, Cameras]]) -> Clip:
    rgb = torch.stack([rgb for rgb, _ in squares])
    cameras = Cameras.cat([camera[None] for _, camera in squares])
    return Clip(rgb, torch.zeros_like(rgb[:, :1]), cameras)


def _size_note(rgbs: Sequence[Tensor], fit: str, size_px: int) -> dict[str, Any]:
    sizes = sorted({f"{rgb.shape[-1]}x{rgb.shape[-2]}" for rgb in rgbs})
    return {"size_from": sizes, "size_px": size_px, "fit": fit}


def _digest(rgb: Tensor) -> str:
    return hashlib.sha256(rgb.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()
