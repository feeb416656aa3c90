"""Posed images in transforms.json: nerfstudio, instant-ngp and Blender (NeRF) style.

The file holds camera-to-world matrices with OpenGL axes (x right, y up, looking along -z) and intrinsics in pixels with
the corner of the image at (0, 0), which is our rule. nerfstudio's importers may have moved the user's world before
storing it: stored point = applied_scale * applied_transform @ user's point. Reading undoes that, so poses come back in
the user's own frame and units; the similarity is kept beside them for users of the stored frame.
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.conventions import opencv_from_opengl
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages, size_mismatch
from geometry.io.entries import inside, json_keys, number, rigid_rows, shown
from geometry.io.files import read_json, write_json
from geometry.io.images import image_hw
from geometry.shapes import Float
from geometry.similarity import Similarity

_MAX_BYTES = 50_000_000
_PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")
_FISHEYE, _PANORAMA = "OPENCV_FISHEYE", "EQUIRECTANGULAR"
_FOCAL = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")
_DISTORTION, _ANGULAR = ("k1", "k2", "p1", "p2", "k3"), ("k1", "k2", "k3", "k4")
_INHERITED = (*_FOCAL, *_DISTORTION, "k4", "cx", "cy", "w", "h", "camera_model", "is_fisheye")


def is_transforms(path: Path) -> bool:
    """Whether a file is a transforms.json, whatever its name."""
    return "transform_matrix" in json_keys(path)[1]


def read_transforms(path: Path | str, need_images: bool = True) -> PosedImages:
    """Read a transforms.json.

    Rotations are made exactly orthonormal when they are off by more than rounding (1e-5) and less than 1e-2.

    Args:
        path: the file; images are looked for in its folder, with the usual suffixes where none is written.
        need_images: whether every image must exist and have the size the file states; else missing ones get no path.

    Returns:
        The images in the user's frame and units.

    Raises:
        InputError: the file is missing, not JSON, above 50 MB or without frames; values of a wrong type, range or
            shape, NaN or Inf; matrices that are not rigid; lenses other than OPENCV, OPENCV_FISHEYE, EQUIRECTANGULAR
            and their simpler forms; repeated images, and images outside the file's folder. The message names the frame.
    """
    path = Path(path)
    meta = read_json(path, "a transforms.json", _MAX_BYTES)
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list) or not meta["frames"]:
        raise InputError(f'{path}: no frames; expected a JSON object with a list "frames" of at least one')
    stored_from_user = _similarity(meta, path)

    root, frames, seen = path.parent.resolve(), [], {}
    for index, entry in enumerate(meta["frames"]):
        where = f"{path}: frame {index}"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: {shown(entry)}; expected a JSON object")
        frame = _frame(_with_defaults(entry, meta), root, where, need_images)
        first = seen.setdefault(frame.path or PurePosixPath(frame.file_path), index)
        if first != index:
            raise InputError(f"{where}: {frame.file_path} was frame {first} already; expected each image once")
        frames.append(frame)
    if "applied_transform" in meta or "applied_scale" in meta:
        frames = [frame.moved(stored_from_user.inverse()) for frame in frames]
    return PosedImages(tuple(frames), stored_from_user)


def write_transforms(
    path: Path | str,
    cameras: Cameras,
    file_paths: Sequence[str],
    depth_file_paths: Sequence[str] | None = None,
    extra: dict[str, Any] | None = None,
    stored_from_user: Similarity | None = None,
) -> None:
    """Write cameras with their lenses as transforms.json.

    `read_transforms` returns the same numbers exactly, but for the K of panoramas (to rounding) and the reach of
    lenses (the model's own again).

    Args:
        path: the file.
        cameras: of batch shape [f].
        file_paths: f images, relative to the folder of `path`.
        depth_file_paths: f depth maps, likewise.
        extra: further top-level entries, JSON values.
        stored_from_user: the world to store the cameras in; readers undo it.

    Raises:
        InputError: lengths that differ, repeated paths or ones outside the folder, skew, NaN or Inf, lenses the format
            does not have (f-theta, k4 to k6 of OPENCV), or an extra that would replace one of our entries.
    """
    path = Path(path)
    count = len(cameras) if len(cameras.shape) == 1 else 0
    paths = [list(file_paths), list(depth_file_paths)] if depth_file_paths is not None else [list(file_paths)]
    if not count or any(len(names) != count or len(set(names)) != count for names in paths):
        raise InputError(
            f"{path}: cameras of batch shape {tuple(cameras.shape)}, {len(file_paths)} file paths; "
            "expected one different path for each of at least one camera in a batch of one axis"
        )
    for name in [name for names in paths for name in names]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: image {name}; expected a path below the folder of the file")
    cameras = (cameras if stored_from_user is None else stored_from_user.apply(cameras)).to("cpu")
    meta: dict[str, Any] = {"camera_model": "PINHOLE", "w": cameras.hw[1], "h": cameras.hw[0]}
    frames = _frames(path, cameras, paths)
    lenses = [_intrinsics(cameras[i], str(path)) for i in range(count)]
    if all(lens == lenses[0] for lens in lenses):
        meta |= lenses[0]
    else:
        frames = [frame | lens for frame, lens in zip(frames, lenses)]
    if clash := sorted((meta.keys() | {"frames", "applied_transform", "applied_scale"}) & (extra or {}).keys()):
        raise InputError(f"{path}: extra entries {', '.join(clash)}; expected names the format does not use itself")
    meta |= extra or {}
    if stored_from_user is not None:
        scale = stored_from_user.scale.double()
        shift = stored_from_user.translation.double()[:, None] / scale
        moved = torch.cat([stored_from_user.rotation.double(), shift], 1)
        meta |= {"applied_transform": moved.tolist(), "applied_scale": float(scale)}
    write_json(path, meta | {"frames": frames})


def _frames(path: Path, cameras: Cameras, names: list[list[str]]) -> list[dict[str, Any]]:
    """The entries of every frame but its intrinsics."""
    poses, K = opencv_from_opengl(cameras.world_from_camera), cameras.K
    if not bool(poses.isfinite().all() and K.isfinite().all()):
        raise InputError(f"{path}: cameras with NaN or Inf; expected finite numbers")
    if bool((K[:, 0, 1] != 0).any()):
        raise InputError(f"{path}: cameras with skew; expected K[0, 1] = 0, which is all the format can hold")
    frames: list[dict[str, Any]] = []
    for i, pose in enumerate(poses.tolist()):
        frame = {"file_path": names[0][i], "transform_matrix": pose}
        if len(names) > 1:
            frame["depth_file_path"] = names[1][i]
        if int(cameras.view[i]):
            frame["view"] = int(cameras.view[i])
        if float(cameras.time_s[i]):
            frame["time_s"] = float(cameras.time_s[i])
        frames.append(frame)
    return frames


def _intrinsics(camera: Cameras, where: str) -> dict[str, Any]:
    """The format's entries for one camera's K and lens."""
    K = camera.K.tolist()
    plain = {"fl_x": K[0][0], "fl_y": K[1][1], "cx": K[0][2], "cy": K[1][2]}
    kind = LensKind.PINHOLE if camera.lens is None else LensKind(int(camera.lens.kind))
    if camera.lens is None or kind == LensKind.PINHOLE:
        return plain
    values = camera.lens.coefficients.tolist()
    if kind == LensKind.EQUIRECTANGULAR:
        return plain | {"camera_model": _PANORAMA, "fl_x": K[0][0] * math.pi, "fl_y": K[1][1] * math.pi}
    if kind == LensKind.FISHEYE:
        return plain | {"camera_model": _FISHEYE, **dict(zip(_ANGULAR, values))}
    if kind == LensKind.OPENCV and not any(values[5:]):
        return plain | {"camera_model": "OPENCV", **dict(zip(_DISTORTION, values))}
    raise InputError(f"{where}: lens {kind.name} {values}; expected one of the format: k1 k2 p1 p2 k3 or a fisheye")


def _with_defaults(entry: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """A frame's entries over the file's; a frame that states any focal length of its own inherits none."""
    own_focal = any(key in entry for key in _FOCAL)
    return {key: meta[key] for key in _INHERITED if key in meta and not (own_focal and key in _FOCAL)} | entry


def _frame(entry: dict[str, Any], root: Path, where: str, need_image: bool) -> PosedImage:
    """One frame from its entries merged over the file's."""
    name = entry.get("file_path")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: file_path {shown(name)}; expected the name of an image")
    where = f"{where} ({name})"
    image = inside(root, name, where)
    if image is None and need_image:
        raise InputError(f"{where}: no such image; expected it in {root}")
    depth_name = entry.get("depth_file_path")
    if depth_name is not None and not isinstance(depth_name, str):
        raise InputError(f"{where}: depth_file_path {shown(depth_name)}; expected the name of an image")
    hw = _hw(entry, image, where, need_image)
    view = entry.get("view", 0)
    return PosedImage(
        file_path=name,
        path=image,
        world_from_camera=opencv_from_opengl(rigid_rows(entry.get("transform_matrix"), f"{where}: transform_matrix")),
        K=_K(entry, hw, where),
        hw=hw,
        lens=_lens(entry, where),
        depth_path=inside(root, depth_name, where) if depth_name else None,
        view=view if isinstance(view, int) else 0,
        time_s=number(entry.get("time_s", 0.0), f"{where}: time_s"),
    )


def _hw(entry: dict[str, Any], image: Path | None, where: str, need_image: bool) -> tuple[int, int]:
    """Image size: what the file states, checked against the image, or the image's own."""
    stated = None
    if entry.get("w") is not None and entry.get("h") is not None:
        h, w = (number(entry[key], f"{where}: {key}") for key in "hw")
        if not (h >= 1 and w >= 1 and h == int(h) and w == int(w) and max(h, w) <= 2**20):
            raise InputError(f"{where}: image size {w:g}x{h:g}; expected whole numbers of pixels")
        stated = (int(h), int(w))
    if stated is not None and not need_image:
        return stated
    if image is None:
        raise InputError(f"{where}: neither w and h nor the image; expected one of them to know the size")
    actual = image_hw(image, upright=False)
    if stated is not None and stated != actual:
        raise InputError(size_mismatch(str(image), actual, stated))
    return actual


def _K(entry: dict[str, Any], hw: tuple[int, int], where: str) -> Float[torch.Tensor, "3 3"]:
    panorama = entry.get("camera_model") == _PANORAMA
    focal: list[float | None] = [hw[1] / 2, float(hw[0])] if panorama else [None, None]
    for i, (axis, side) in enumerate([("x", hw[1]), ("y", hw[0])]):
        if entry.get(f"fl_{axis}") is not None:
            focal[i] = number(entry[f"fl_{axis}"], f"{where}: fl_{axis}")
        elif entry.get(f"camera_angle_{axis}") is not None:
            angle = number(entry[f"camera_angle_{axis}"], f"{where}: camera_angle_{axis}")
            if not 0 < angle < math.pi:
                raise InputError(f"{where}: camera_angle_{axis} {angle:g}; expected radians in (0, pi)")
            focal[i] = side / 2 / math.tan(angle / 2)
    fx = focal[0] if focal[0] is not None else focal[1]
    fy = focal[1] if focal[1] is not None else fx
    if fx is None or fy is None:
        raise InputError(f"{where}: no focal length; expected fl_x or camera_angle_x")
    if fx <= 0 or fy <= 0:
        raise InputError(f"{where}: focal length {min(fx, fy):g}; expected more than 0 pixels")
    cx = number(entry.get("cx", hw[1] / 2), f"{where}: cx")
    cy = number(entry.get("cy", hw[0] / 2), f"{where}: cy")
    if panorama:  # stored in pixels per half turn
        fx, fy = fx / math.pi, fy / math.pi
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)


def _lens(entry: dict[str, Any], where: str) -> Lens | None:
    model = _FISHEYE if entry.get("is_fisheye") is True else entry.get("camera_model", "OPENCV")
    if model not in (*_PERSPECTIVE, _FISHEYE, _PANORAMA):
        known = ", ".join((*_PERSPECTIVE, _FISHEYE, _PANORAMA))
        raise InputError(f"{where}: camera model {shown(model)}; expected one of {known}")
    if model == _PANORAMA:
        return Lens.of(LensKind.EQUIRECTANGULAR, torch.zeros(0, dtype=torch.float64))
    names = _ANGULAR if model == _FISHEYE else _DISTORTION
    values = torch.tensor([number(entry.get(name, 0.0), f"{where}: {name}") for name in names], dtype=torch.float64)
    if model == _FISHEYE:
        return Lens.of(LensKind.FISHEYE, values)
    if number(entry.get("k4", 0.0), f"{where}: k4"):
        raise InputError(f"{where}: k4 is not 0; expected a lens of k1 k2 p1 p2 k3 only")
    return Lens.of(LensKind.OPENCV, values) if bool(values.any()) else None


def _similarity(meta: dict[str, Any], path: Path) -> Similarity:
    """stored = applied_scale * applied_transform @ user's point."""
    moved = torch.eye(4, dtype=torch.float64)
    if "applied_transform" in meta:
        moved = rigid_rows(meta["applied_transform"], f"{path}: applied_transform")
    scale = number(meta.get("applied_scale", 1.0), f"{path}: applied_scale")
    if scale <= 0:
        raise InputError(f"{path}: applied_scale {scale}; expected more than 0")
    return Similarity(torch.tensor(scale, dtype=torch.float64), moved[:3, :3], scale * moved[:3, 3])
