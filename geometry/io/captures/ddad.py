"""DDAD and other scenes in TRI's DGP format: a car's cameras and LiDAR over time, with world poses for every image.

Metres; vehicle x forward, y left, z up; cameras with OpenCV axes and intrinsics that put pixel centers at whole
numbers, half a pixel from our rule. The world is the scene's own.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from geometry.errors import InputError
from geometry.io.captures.lidar import Sweep
from geometry.io.captures.posed import PosedImage, PosedImages, named_lidar, note_lost, settled, stated_image
from geometry.io.entries import (
    Keys,
    entry,
    json_keys,
    motion_from_quaternion,
    number,
    opencv_intrinsics,
    rigid_rows,
    shown,
)
from geometry.io.files import read_json
from geometry.shapes import Float

_LENS = ("fx", "fy", "cx", "cy", "skew")
_UNDISTORTED = "images without distortion"
KEYS = {
    "file": Keys.of("frames", "dataset"),
    "frame": Keys.of("cameras lidar", "boxes_in_vehicle_frame"),
    "camera": Keys.of("image width height intrinsics cam2world time_of_day_s", "cam2vehicle", distortion=_UNDISTORTED),
    "lidar": Keys.of("file columns sensor2world", "num_points time_of_day_s"),
    "DGP scene": Keys.of("samples data", "name description log creation_date metadata statistics ontologies"),
    "DGP image": Keys.of("filename height width pose", "channels annotations metadata"),
    "DGP lens": Keys.of(  # zeros, which mean no distortion, are left out before this is asked
        "fx fy cx cy skew", "fov", **dict.fromkeys(("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"), _UNDISTORTED)
    ),
}


def is_ddad(path: Path) -> bool:
    """Whether a file is a scene that `read_ddad` reads."""
    keys, first = json_keys(path)
    return "cameras" in first or {"samples", "data"} <= keys


def read_ddad(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read all images of a DDAD scene, by time and, within a time, by camera name; `view` numbers the names.

    Args:
        path: a DGP `scene_*.json` with its `calibration` folder beside it, or one JSON file that holds all, matrices
            4x4 by rows: {"frames": [{"cameras": {name: {"image", "width", "height", "intrinsics", "cam2world",
            "time_of_day_s"}}, "lidar": {"file", "columns", "sensor2world"}}]}.
        need_images: whether every image must be there; else missing ones get no path.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images, with the LiDAR sweep of their time.

    Raises:
        InputError: the file is not such a scene, or images are missing or of another size; the message names the place.
    """
    path = Path(path)
    meta = read_json(path, "a DDAD scene", 2**30)
    lost: list[str] = []
    if isinstance(meta, dict) and "samples" in meta:
        frames = _from_dgp(meta, path, lost)
    else:
        frames = _from_frames(meta, path, lost)
    if not frames:
        raise InputError(f"{path}: no images; expected at least one")
    note_lost(lost, str(path))
    return PosedImages(settled(frames, str(path), path.parent, need_images, skip_missing))


def _from_frames(meta: Any, path: Path, lost: list[str]) -> list[PosedImage]:
    frames = []
    listed = [frame for frame in entry(meta, "frames", list, str(path)) if isinstance(frame, dict)]
    shots = [c for f in listed if isinstance(f.get("cameras"), dict) for c in f["cameras"].values()]
    for part, objects in (
        ("file", [meta]), ("frame", listed), ("camera", shots), ("lidar", [f.get("lidar") for f in listed])
    ):  # fmt: skip
        KEYS[part].check(objects, f"{path}: {part}")
    for index, frame in enumerate(entry(meta, "frames", list, str(path))):
        where = f"{path}: frame {index}"
        cameras = sorted(entry(frame, "cameras", dict, where).items())
        sweep = _sweep(frame.get("lidar"), path.parent, where, lost)
        for view, (name, camera) in enumerate(cameras):
            at = f"{where}: {name}"
            pose = rigid_rows(entry(camera, "cam2world", list, at), f"{at}: cam2world")
            K = opencv_intrinsics(camera.get("intrinsics"), at)
            time_s = number(camera.get("time_of_day_s", 0.0), at)
            lidar = None if sweep is None else sweep.seen_from(pose)
            image = stated_image(
                path.parent, camera.get("image"), camera, pose, K, at, view=view, time_s=time_s, lidar=lidar
            )
            frames.append(image)
    return frames


def _from_dgp(meta: dict[str, Any], path: Path, lost: list[str]) -> list[PosedImage]:
    """A scene as the dataset ships it: samples name their data (images, sweeps) and a calibration by keys."""
    data = {str(d.get("key")): d for d in entry(meta, "data", list, str(path)) if isinstance(d, dict)}
    KEYS["DGP scene"].check([meta], str(path))
    shots = [d["datum"].get("image") for d in data.values() if isinstance(d.get("datum"), dict)]
    KEYS["DGP image"].check(shots, f"{path}: images")
    frames = []
    for index, sample in enumerate(entry(meta, "samples", list, str(path))):
        where = f"{path}: sample {index}"
        lenses = _calibration(path.parent, _key(sample, "calibration_key", where), where)
        chosen = [data[key] for key in entry(sample, "datum_keys", list, where) if key in data]
        by_name = {str(entry(d, "id", dict, where).get("name")): d for d in chosen}
        sweep = None
        for datum in by_name.values():
            cloud = entry(datum, "datum", dict, where).get("point_cloud")
            if isinstance(cloud, dict) and (file := named_lidar(path.parent, cloud.get("filename"), where, lost)):
                columns = len(cloud.get("point_format") or [0] * 4)
                sweep = Sweep(file, columns, _pose(entry(cloud, "pose", dict, where), where))
        for view, (name, datum) in enumerate(sorted(by_name.items())):
            at, image = f"{where}: {name}", entry(datum, "datum", dict, where).get("image")
            if not isinstance(image, dict):
                continue
            if name not in lenses:
                raise InputError(f"{at}: no intrinsics; expected them in the calibration of the sample")
            pose, time_s = _pose(entry(image, "pose", dict, at), at), _seconds(datum["id"].get("timestamp"), at)
            lidar = None if sweep is None else sweep.seen_from(pose)
            frames.append(stated_image(
                path.parent, image.get("filename"), image, pose, lenses[name], at, view=view, time_s=time_s, lidar=lidar
            ))  # fmt: skip
    return frames


def _key(meta: Any, key: str, where: str) -> str:
    """`meta[key]`, which must be text that can be part of a file name."""
    value = meta.get(key) if isinstance(meta, dict) else None
    if not isinstance(value, str) or not value or "/" in value or "\0" in value:
        raise InputError(f"{where}: {key} {shown(value)}; expected a key")
    return value


def _sweep(meta: Any, root: Path, where: str, lost: list[str]) -> Sweep | None:
    """The LiDAR of a frame, where it has one and the file is there."""
    if not isinstance(meta, dict) or (file := named_lidar(root, meta.get("file"), where, lost)) is None:
        return None
    pose = rigid_rows(entry(meta, "sensor2world", list, where), f"{where}: sensor2world")
    return Sweep(file, len(entry(meta, "columns", list, where)), pose)


def _calibration(root: Path, key: str, where: str) -> dict[str, Float[torch.Tensor, "3 3"]]:
    meta = read_json(root / "calibration" / f"{key}.json", "a DGP calibration")
    names, lenses = entry(meta, "names", list, where), entry(meta, "intrinsics", list, where)
    found = {}
    bare = [{k: v for k, v in lens.items() if v != 0} for lens in lenses if isinstance(lens, dict)]
    KEYS["DGP lens"].check(bare, where)
    for name, lens in zip(names, lenses):
        values = [number(lens.get(k, 0.0), f"{where}: {k}") if isinstance(lens, dict) else 0.0 for k in _LENS]
        fx, fy, cx, cy, skew = values
        if fx > 0 and fy > 0:  # a LiDAR has an entry too, of zeros
            found[str(name)] = opencv_intrinsics([[fx, skew, cx], [0, fy, cy], [0, 0, 1]], where)
    return found


def _pose(pose: dict[str, Any], where: str) -> Float[torch.Tensor, "4 4"]:
    """world_from_sensor; protocol buffers leave zeros out."""
    q, t = (entry({"rotation": {}, "translation": {}} | pose, key, dict, where) for key in ("rotation", "translation"))
    wxyz = [q.get(key, 0.0) for key in ("qw", "qx", "qy", "qz")]
    return motion_from_quaternion(wxyz, [t.get(key, 0.0) for key in "xyz"], where)


def _seconds(stamp: Any, where: str) -> float:
    """Seconds since midnight (UTC) of an ISO time stamp."""
    try:
        time = datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"{where}: time {shown(stamp)}; expected an ISO time stamp") from error
    return time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6
