"""From a user's pictures and cameras to the square, sized frames the model sees; intrinsics follow every step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.framing import square, undistorted
from geometry.io.images import read_exif_fov, read_image
from geometry.io.nerfstudio import read_transforms
from geometry.io.posed import PosedPicture
from geometry.lenses import LensKind
from worldgen.clip import Clip

DEFAULT_FOV_DEG = 55.0

Picture = Path | str | Tensor


@dataclass(frozen=True)
class Inputs:
    """What an orbit starts from, at the model's size.

    given     the pictures, depth unknown (0); poses are meaningless unless `posed`
    posed     whether the cameras came with poses
    held_out  further pictures of the same capture, kept back as truth, or None
    names     of the given pictures, and `held_out_names` of the others
    notes     what was done to them, for the manifest
    """

    given: Clip
    posed: bool
    names: tuple[str, ...]
    held_out: Clip | None = None
    held_out_names: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


def read_inputs(
    pictures: Sequence[Picture], cameras: Path | str | Cameras | None, fov_deg: float | None, fit: str, size_px: int
) -> Inputs:
    """Read, undistort, square and resize pictures.

    pictures  files, or rgb tensors [3, h, w] in 0..1
    cameras   a transforms.json that names each picture (its other frames become held-out truth), cameras of batch
              shape [g] for tensors, or None for one picture
    fov_deg   field of view over the shorter side of one picture without cameras; else its EXIF, else 55 degrees
    fit       "crop" to the centre square, or "pad" to a square by repeating the border

    Raises InputError for anything that does not fit together.
    """
    if fit not in ("crop", "pad"):
        raise InputError(f"fit {fit!r}; expected crop or pad")
    if len(pictures) == 0:
        raise InputError("no pictures; expected at least one")
    if isinstance(cameras, str | Path):
        return _from_transforms([_path(p) for p in pictures], Path(cameras), fit, size_px)
    if isinstance(cameras, Cameras):
        return _from_cameras(pictures, cameras, fit, size_px)
    if len(pictures) > 1:
        raise InputError(
            f"{len(pictures)} pictures without cameras; expected --cameras transforms.json, or one picture"
        )
    return _from_one(pictures[0], fov_deg, fit, size_px)


def _path(picture: Picture) -> Path:
    if isinstance(picture, Tensor):
        raise InputError("a picture tensor with a transforms.json; expected files that it names")
    return Path(picture)


def _from_one(picture: Picture, fov_deg: float | None, fit: str, size_px: int) -> Inputs:
    source, exif = "given", None
    if isinstance(picture, Tensor):
        rgb, name, digest = picture, "picture", _digest(picture)
    else:
        path = Path(picture)
        rgb, name, digest = read_image(path), path.name, hashlib.sha256(path.read_bytes()).hexdigest()
        exif = read_exif_fov(path) if fov_deg is None else None
    if fov_deg is None:
        fov_deg, source = (exif, "EXIF") if exif is not None else (DEFAULT_FOV_DEG, "default")
    camera = Cameras.from_fov(torch.eye(4)[None], float(fov_deg), (rgb.shape[-2], rgb.shape[-1]))
    clip = _clip([square(rgb, camera[0], fit, size_px)])
    notes = {"field_of_view_deg": round(float(fov_deg), 4), "field_of_view_from": source, "sha256": {name: digest}}
    return Inputs(clip, False, (name,), notes=notes | _size_note([rgb], fit, size_px))


def _from_cameras(pictures: Sequence[Picture], cameras: Cameras, fit: str, size_px: int) -> Inputs:
    if cameras.shape != (len(pictures),):
        raise InputError(f"{len(pictures)} pictures with cameras of shape {tuple(cameras.shape)}; expected one each")
    rgbs = [p if isinstance(p, Tensor) else read_image(Path(p)) for p in pictures]
    wrong = [tuple(rgb.shape) for rgb in rgbs if rgb.shape != (3, *cameras.hw)]
    if wrong:
        raise InputError(f"a picture of shape {wrong[0]} with cameras of size {cameras.hw}; expected (3, h, w) of it")
    names = tuple(f"picture {i}" if isinstance(p, Tensor) else Path(p).name for i, p in enumerate(pictures))
    clip = _clip([square(rgb, cameras[i], fit, size_px) for i, rgb in enumerate(rgbs)])
    notes = {"sha256": {name: _digest(rgb) for name, rgb in zip(names, rgbs)}}
    return Inputs(clip, True, names, notes=notes | _size_note(rgbs, fit, size_px))


def _from_transforms(paths: list[Path], file: Path, fit: str, size_px: int) -> Inputs:
    frames = read_transforms(file).frames
    by_path = {frame.path: frame for frame in frames}
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such picture")
        if path.resolve() not in by_path:
            raise InputError(f"{path}: no frame of {file} names this picture; expected one of its {len(frames)}")
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) != len(resolved):
        raise InputError("the same picture is given twice; expected each once")
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


def _read(frame: PosedPicture, fit: str, size_px: int) -> tuple[Tensor, tuple[Tensor, Cameras]]:
    rgb, camera = undistorted(frame, frame.read())
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
