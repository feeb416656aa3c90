"""Posed images in transforms.json: nerfstudio, instant-ngp and Blender (NeRF) style.

The file holds camera-to-world matrices with OpenGL axes (x right, y up, looking along -z) and intrinsics in pixels with
the corner of the image at (0, 0), which is our rule. nerfstudio's importers may have moved the user's world before
storing it: stored point = applied_scale * applied_transform @ user's point. Reading undoes that, so poses come back in
the user's own frame and units; the similarity is kept beside them for users of the stored frame.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.conventions import opencv_from_opengl
from geometry.errors import InputError, note
from geometry.io.captures.posed import PosedImage, PosedImages, each_camera, fit_sizes, require_images, whole_size
from geometry.io.entries import Keys, json_keys, listed_file, number, rigid_rows, shown
from geometry.io.files import read_json, write_json
from geometry.io.images import image_hw
from geometry.shapes import Float
from geometry.similarity import Similarity

_MAX_BYTES = 50_000_000
_SKY = 65535  # of depth maps, as `write_depth_png` writes it
_PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")
_FISHEYE, _PANORAMA = "OPENCV_FISHEYE", "EQUIRECTANGULAR"
_FOCAL = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")
_DISTORTION, _ANGULAR = ("k1", "k2", "p1", "p2", "k3"), ("k1", "k2", "k3", "k4")
_DEPTH, _UNIT, _TIME = (
    ("depth_file_path", "depth_path"),  # nerfstudio's and instant-ngp's names
    ("integer_depth_scale", "depth_unit_scale_factor"),
    ("time_s", "timestamp", "time"),  # ours, nerfstudio's, and D-NeRF's, whose unit is the length of the clip
)
_INHERITED = (*_FOCAL, *_DISTORTION, "k4", "cx", "cy", "w", "h", "camera_model", "is_fisheye", *_UNIT)
_WORDS = " ".join(_INHERITED)
_MORE_LENS = "k1 k2 p1 p2 k3, or k1 to k4 of a fisheye, as keys of their own"
KEYS = {
    "file": Keys.of(
        f"frames applied_transform applied_scale ply_file_path depth_sky {_WORDS}",
        "aabb_scale scale offset from_na up n_frames orientation_override train_filenames val_filenames test_filenames "
        "sharpen fps generator",
        distortion_params=_MORE_LENS, k5=_MORE_LENS, k6=_MORE_LENS,
    ),
    "frame": Keys.of(
        f"file_path transform_matrix mask_path view {' '.join((*_DEPTH, *_TIME))} {_WORDS}",
        "sharpness rotation colmap_im_id camera_id frame_id id",
        distortion_params=_MORE_LENS, k5=_MORE_LENS, k6=_MORE_LENS,
    ),
}  # fmt: skip


def is_transforms(path: Path) -> bool:
    """Whether a file is a transforms.json, whatever its name."""
    return "transform_matrix" in json_keys(path)[1]


def read_transforms(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read a transforms.json.

    Rotations are made exactly orthonormal when they are off by more than rounding (1e-5) and less than 1e-2. Cameras
    are resized to images that are resized copies of what the file states. Of several times of a frame the first of
    time_s, timestamp and time counts. Keys that are not read are noted.

    Args:
        path: the file; images are looked for in its folder, with the usual suffixes where none is written.
        need_images: whether every image must exist and fit the size the file states; else missing ones get no path.
        skip_missing: leave frames out whose image is missing, and say so in a note.

    Returns:
        The images in the user's frame and units.

    Raises:
        InputError: the file is missing, not JSON, above 50 MB or without frames; values of a wrong type, range or
            shape, NaN or Inf; matrices that are not rigid; lenses other than OPENCV, OPENCV_FISHEYE, EQUIRECTANGULAR
            and their simpler forms; repeated or missing images, named masks or depth that are missing, and names that
            lead out of the file's folder. The message names the frame.
    """
    path = Path(path)
    meta = read_json(path, "a transforms.json", _MAX_BYTES)
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list) or not meta["frames"]:
        raise InputError(f'{path}: no frames; expected a JSON object with a list "frames" of at least one')
    KEYS["file"].check([meta], str(path))
    KEYS["frame"].check(meta["frames"], f"{path}: frames")
    if meta.get("depth_sky", _SKY) != _SKY:
        raise InputError(f"{path}: depth_sky {shown(meta['depth_sky'])}; expected {_SKY}, which is sky in depth maps")
    stored_from_user, root, need = _similarity(meta, path), path.parent.resolve(), need_images or skip_missing
    found = list(_images(meta["frames"], root, path))
    missing = [name for name, image, _ in found if image is None] if need else []
    require_images(missing, len(found), str(path), root, skip_missing)
    frames = []
    for entry, (_, image, where) in zip(meta["frames"], found):
        if image is not None or not need:
            frames.append(_frame(_with_defaults(entry, meta), image, root, where, need))
    frames = list(fit_sizes(frames, str(path))) if need else frames
    if "applied_transform" in meta or "applied_scale" in meta:
        frames = [frame.moved(stored_from_user.inverse()) for frame in frames]
    points = _named_file(meta, ("ply_file_path",), root, str(path), need=False)
    if need and points is None and meta.get("ply_file_path") is not None:
        note(f"{path}: its points {shown(meta['ply_file_path'])} are not in {root}")
    return PosedImages(tuple(frames), stored_from_user, points_path=points)


def _images(entries: list[Any], root: Path, path: Path) -> Iterator[tuple[str, Path | None, str]]:
    """The name of each frame's image, where it is (None = missing), and the place in the file for errors."""
    seen: dict[Path | PurePosixPath, int] = {}
    for index, entry in enumerate(entries):
        where = f"{path}: frame {index}"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: {shown(entry)}; expected a JSON object")
        name = entry.get("file_path")
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: file_path {shown(name)}; expected the name of an image")
        where = f"{where} ({name[:80]})"
        image = listed_file(root, name, where)
        first = seen.setdefault(image or PurePosixPath(name), index)
        if first != index:
            raise InputError(f"{where}: was frame {first} already; expected each image once")
        yield name, image, where


def _named_file(entry: dict[str, Any], keys: tuple[str, ...], root: Path, where: str, need: bool) -> Path | None:
    """The file that one of some keys names; None where none does, or it is missing and not needed."""
    given = {key: entry[key] for key in keys if entry.get(key) is not None}
    for key, name in given.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: {key} {shown(name)}; expected the name of a file")
    if len(set(given.values())) > 1:
        raise InputError(f"{where}: {' and '.join(given)} that differ; expected one of them")
    for key, name in given.items():
        found = listed_file(root, name, f"{where}: {key}")
        if found is None and need:
            raise InputError(f"{where}: {key} {shown(name)}; expected that file in {root}")
        return found
    return None


def write_transforms(
    path: Path | str,
    cameras: Cameras | Sequence[Cameras],
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
        cameras: of batch shape [f], or f of batch shape [] for images of several sizes.
        file_paths: f images, relative to the folder of `path`.
        depth_file_paths: f depth maps, likewise, as `write_depth_png` writes them: the file says that 65535 is sky.
        extra: further top-level entries, JSON values.
        stored_from_user: the world to store the cameras in; readers undo it.

    Raises:
        InputError: lengths that differ, repeated paths or ones outside the folder, skew, NaN or Inf, lenses the format
            does not have (f-theta, k4 to k6 of OPENCV), or an extra that would replace one of our entries.
    """
    path = Path(path)
    each = _each(cameras, stored_from_user)
    paths = [list(file_paths), list(depth_file_paths)] if depth_file_paths is not None else [list(file_paths)]
    if not each or any(len(names) != len(each) or len(set(names)) != len(each) for names in paths):
        raise InputError(
            f"{path}: {len(each)} cameras, {len(file_paths)} file paths; "
            "expected one different path for each of at least one camera in a batch of one axis"
        )
    for name in [name for names in paths for name in names]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: image {name}; expected a path below the folder of the file")
    frames = [_frame_entries(path, one, [names[i] for names in paths]) for i, one in enumerate(each)]
    lenses = [{"w": one.hw[1], "h": one.hw[0], **_intrinsics(one, str(path))} for one in each]
    meta: dict[str, Any] = {"camera_model": "PINHOLE"}
    shared = lenses[0] if all(lens == lenses[0] for lens in lenses) else {}
    if len({one.hw for one in each}) == 1:
        shared |= {key: lenses[0][key] for key in "wh"}
    meta |= shared
    frames = [frame | {k: v for k, v in lens.items() if k not in shared} for frame, lens in zip(frames, lenses)]
    meta |= {"depth_sky": _SKY} if depth_file_paths is not None else {}
    if clash := sorted((meta.keys() | {"frames", "applied_transform", "applied_scale"}) & (extra or {}).keys()):
        raise InputError(f"{path}: extra entries {', '.join(clash)}; expected names the format does not use itself")
    meta |= extra or {}
    meta |= {} if stored_from_user is None else _applied(stored_from_user)
    write_json(path, meta | {"frames": frames})


def _each(cameras: Cameras | Sequence[Cameras], stored_from_user: Similarity | None) -> list[Cameras]:
    """Each camera, of batch shape [], in the world to store; none where the batch has not one axis."""
    if not isinstance(cameras, Cameras):
        return [one for camera in cameras for one in _each(camera[None], stored_from_user)]
    if stored_from_user is not None and len(cameras.shape) == 1:
        cameras = stored_from_user.apply(cameras)
    return each_camera(cameras.to("cpu"))


def _applied(stored: Similarity) -> dict[str, Any]:
    """The format's entries for a similarity."""
    scale = stored.scale.double()
    moved = torch.cat([stored.rotation.double(), stored.translation.double()[:, None] / scale], 1)
    return {"applied_transform": moved.tolist(), "applied_scale": float(scale)}


def _frame_entries(path: Path, camera: Cameras, names: list[str]) -> dict[str, Any]:
    """The entries of a frame but its intrinsics and size."""
    pose, K = opencv_from_opengl(camera.world_from_camera), camera.K
    if not bool(pose.isfinite().all() and K.isfinite().all()):
        raise InputError(f"{path}: cameras with NaN or Inf; expected finite numbers")
    if float(K[0, 1]) != 0:
        raise InputError(f"{path}: cameras with skew; expected K[0, 1] = 0, which is all the format can hold")
    frame: dict[str, Any] = {"file_path": names[0], "transform_matrix": pose.tolist()}
    frame |= {"depth_file_path": names[1]} if len(names) > 1 else {}
    frame |= {"view": int(camera.view)} if int(camera.view) else {}
    return frame | ({"time_s": float(camera.time_s)} if float(camera.time_s) else {})


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


def _frame(entry: dict[str, Any], image: Path | None, root: Path, where: str, need: bool) -> PosedImage:
    """One frame from its entries merged over the file's, in the size that the file states."""
    hw = _hw(entry, image, where)
    view = entry.get("view", 0)
    if not isinstance(view, int) or isinstance(view, bool) or not 0 <= view < 2**31:
        raise InputError(f"{where}: view {shown(view)}; expected a whole number, 0 or more")
    return PosedImage(
        file_path=entry["file_path"],
        path=image,
        world_from_camera=opencv_from_opengl(rigid_rows(entry.get("transform_matrix"), f"{where}: transform_matrix")),
        K=_K(entry, hw, where),
        hw=hw,
        lens=_lens(entry, where),
        depth_path=_named_file(entry, _DEPTH, root, where, need),
        view=view,
        time_s=next((number(entry[key], f"{where}: {key}") for key in _TIME if entry.get(key) is not None), 0.0),
        metres_per_unit=_metres_per_unit(entry, where),
        mask_path=_named_file(entry, ("mask_path",), root, where, need),
    )


def _metres_per_unit(entry: dict[str, Any], where: str) -> float:
    """Of the depth maps: as stated, else millimetres."""
    stated = {key: number(entry[key], f"{where}: {key}") for key in _UNIT if entry.get(key) is not None}
    if len(set(stated.values())) > 1 or any(unit <= 0 for unit in stated.values()):
        raise InputError(f"{where}: {stated}; expected one unit of depth, more than 0")
    return next(iter(stated.values()), 0.001)


def _hw(entry: dict[str, Any], image: Path | None, where: str) -> tuple[int, int]:
    """Image size: what the file states, else the image's own."""
    if entry.get("w") is not None and entry.get("h") is not None:
        return whole_size([entry["h"], entry["w"]], where)
    if image is None:
        raise InputError(f"{where}: neither w and h nor the image; expected one of them to know the size")
    return image_hw(image, upright=False)


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
