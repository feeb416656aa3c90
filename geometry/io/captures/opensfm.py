"""OpenSfM's and OpenDroneMap's `reconstruction.json`, with the images in `images` beside it.

Camera from world as an axis times an angle and a translation, OpenCV axes, metres, world z up where there is GPS. Focal
lengths and principal points are fractions of the longer side, the latter from the middle of the image.
"""

import math
from pathlib import Path
from typing import Any

import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError, note
from geometry.io.captures.posed import PosedImage, PosedImages, settled, whole_size
from geometry.io.entries import Keys, entry, listed_file, number, shown
from geometry.io.files import read_json
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.shapes import Float

_KINDS = {
    "perspective": LensKind.OPENCV, "simple_radial": LensKind.OPENCV, "radial": LensKind.OPENCV,
    "brown": LensKind.OPENCV, "fisheye": LensKind.FISHEYE, "fisheye_opencv": LensKind.FISHEYE,
    "spherical": LensKind.EQUIRECTANGULAR, "equirectangular": LensKind.EQUIRECTANGULAR,
}  # fmt: skip
KEYS = {
    "camera": Keys.of("projection_type width height focal focal_x focal_y c_x c_y k1 k2 k3 k4 p1 p2",
                      "focal_prior k1_prior k2_prior band_name band_index"),
    "shot": Keys.of(
        "rotation translation camera capture_time",
        "orientation gps_dop gps_position scale vertices faces covariance merge_cc skey compass is_merged mesh "
        "opk_angles accelerometer",
    ),
}  # fmt: skip


def is_opensfm(path: Path) -> bool:
    """Whether a file is a reconstruction, or a folder has one."""
    return path.name == "reconstruction.json" or (path / "reconstruction.json").is_file()


def read_opensfm(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read a reconstruction of OpenSfM or OpenDroneMap; of several, the one of the most images, with a note.

    Args:
        path: reconstruction.json, or its folder.
        need_images: whether every image must be there, in the size the file says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images in the order of their names; `view` numbers the cameras.

    Raises:
        InputError: the file is not such a reconstruction, lenses are unknown, or images are missing.
    """
    path = Path(path)
    path = path / "reconstruction.json" if path.is_dir() else path
    data = read_json(path, "a reconstruction of OpenSfM", 2**31)
    parts = [part for part in data if isinstance(part, dict) and part.get("shots")] if isinstance(data, list) else []
    if not parts:
        raise InputError(f"{path}: no shots; expected a list of reconstructions")
    meta = max(parts, key=lambda part: len(part["shots"]))
    if parts[1:]:
        note(f"{path}: {len(parts)} reconstructions; only the one of {len(meta['shots'])} images is read")
    cameras, shots = entry(meta, "cameras", dict, str(path)), entry(meta, "shots", dict, str(path))
    KEYS["camera"].check(cameras.values(), f"{path}: cameras")
    KEYS["shot"].check(shots.values(), f"{path}: shots")
    lenses = {name: (n, *_lens(camera, f"{path}: camera {name}")) for n, (name, camera) in enumerate(cameras.items())}
    root = (path.parent / "images").resolve()
    frames = []
    for name, shot in sorted(shots.items()):
        where = f"{path}: {name[:80]}"
        if not isinstance(shot, dict) or shot.get("camera") not in lenses:
            raise InputError(f"{where}: camera {shown(shot)}; expected one of the file's")
        view, hw, K, lens = lenses[shot["camera"]]
        turn, shift = (_three(shot.get(key), f"{where}: {key}") for key in ("rotation", "translation"))
        pose = invert_rigid(rigid(_rotation(turn), shift))
        time_s = number(shot.get("capture_time") or 0.0, f"{where}: capture_time")
        image = listed_file(root, name, where)
        frames.append(PosedImage(name, image, pose, K, hw, lens, view=view, time_s=time_s))
    return PosedImages(settled(frames, str(path), root, need_images, skip_missing))


def _three(values: Any, where: str) -> Float[torch.Tensor, "3"]:
    if not isinstance(values, list) or len(values) != 3:
        raise InputError(f"{where} {shown(values)}; expected three numbers")
    return torch.tensor([number(value, where) for value in values], dtype=torch.float64)


def _rotation(turn: Float[torch.Tensor, "3"]) -> Float[torch.Tensor, "3 3"]:
    """Of an axis times an angle."""
    x, y, z = turn.tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


def _lens(camera: Any, where: str) -> tuple[tuple[int, int], Float[torch.Tensor, "3 3"], Lens | None]:
    kind = _KINDS.get(str(camera.get("projection_type"))) if isinstance(camera, dict) else None
    if kind is None:
        raise InputError(f"{where}: {shown(camera)}; expected a projection_type of {', '.join(_KINDS)}")
    hw = whole_size([camera.get("height"), camera.get("width")], where)
    none = torch.zeros(0, dtype=torch.float64)
    value = {key: number(camera.get(key, 0.0), f"{where}: {key}") for key in KEYS["camera"].read - {"projection_type"}}
    side, focal = max(hw), value["focal"]
    fx, fy = value["focal_x"] or focal, value["focal_y"] or focal
    if kind == LensKind.EQUIRECTANGULAR:
        fx, fy = hw[1] / math.tau / side, hw[0] / math.pi / side
    if not (fx > 0 and fy > 0):
        raise InputError(f"{where}: focal lengths {fx:g} {fy:g}; expected more than 0")
    cx, cy = hw[1] / 2 + side * value["c_x"], hw[0] / 2 + side * value["c_y"]
    K = torch.tensor([[side * fx, 0, cx], [0, side * fy, cy], [0, 0, 1]], dtype=torch.float64)
    if kind == LensKind.EQUIRECTANGULAR:
        return hw, K, Lens.of(kind, none)
    names = ("k1", "k2", "k3", "k4") if kind == LensKind.FISHEYE else ("k1", "k2", "p1", "p2", "k3")
    numbers = torch.tensor([value[name] for name in names], dtype=torch.float64)
    bent = kind == LensKind.FISHEYE or bool(numbers.any())
    return hw, K, Lens.of(kind, numbers) if bent else None
