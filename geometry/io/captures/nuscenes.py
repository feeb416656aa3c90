"""nuScenes: recordings of a car with six cameras and a LiDAR, from the tables of the dataset or one frame as JSON.

Metres; ego x forward, y left, z up; cameras with OpenCV axes and intrinsics that put pixel centers at whole numbers,
half a pixel from our rule; quaternions (w, x, y, z). Cameras and LiDAR fire at different times, and the car moves in
between: everything goes through the map frame, which is the world here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from geometry.errors import InputError
from geometry.io.captures.lidar import Lidar, Sweep
from geometry.io.captures.posed import (
    PosedImage,
    PosedImages,
    named_lidar,
    note_lost,
    settled,
    stated_image,
)
from geometry.io.entries import Keys, entry, json_keys, motion_from_quaternion, number, opencv_intrinsics, rigid_rows
from geometry.io.files import read_json
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float

CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT")
_MAX_BYTES = 2**31
KEYS = {  # of a frame in a JSON file; the tables of a dataset have fixed columns
    "file": Keys.of("ego2global lidar cameras", "dataset sample_token timestamp boxes_in_lidar_frame"),
    "lidar": Keys.of("file columns lidar2ego", "num_points timestamp"),
    "camera": Keys.of(
        "image width height intrinsics lidar2cam timestamp", "cam2ego original_file",
        distortion="images without distortion", camera_distortion="images without distortion",
    ),
}  # fmt: skip
_TABLES = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")


def is_nuscenes(root: Path) -> bool:
    """Whether a folder is a dataset, with its tables."""
    return any(root.glob("v1.0-*/sample_data.json"))


def is_nuscenes_frame(path: Path) -> bool:
    """Whether a file is a frame that `read_nuscenes_frame` reads."""
    return {"cameras", "lidar"} <= json_keys(path)[0]


def nuscenes_captures(root: Path) -> list[tuple[str, Callable[..., PosedImages]]]:
    """The scenes of a dataset, by name, and what reads each; the tables are read once, when the first one is."""
    tables = cache(partial(NuscenesTables.read, root))
    return [(name, lambda name=name, **options: tables().scene(name, **options)) for name in nuscenes_scenes(root)]


def nuscenes_scenes(root: Path | str) -> list[str]:
    """List the scenes of a nuScenes dataset.

    Args:
        root: the folder that holds `samples` and the tables (`v1.0-trainval` or the like).

    Returns:
        Their names, in the order of the table.

    Raises:
        InputError: `root` holds no dataset, or several versions.
    """
    return [str(row.get("name")) for row in _table(_version(Path(root)), "scene")]


def read_nuscenes(root: Path | str, scene: str, skip_missing: bool = False) -> PosedImages:
    """Read the key frames of a scene: six images at each time, with the LiDAR sweep of that time.

    To read many scenes, read the tables once: `NuscenesTables.read(root).scene(name)`.

    Args:
        root: the folder that holds `samples` and the tables (`v1.0-trainval` or the like).
        scene: its name.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images in the order of `CAMERAS`, `view` being the place in it; the caption is the scene's description.

    Raises:
        InputError: there is no such scene, tables lack what they name, or images are missing.
    """
    return NuscenesTables.read(Path(root)).scene(scene, skip_missing)


def read_nuscenes_frame(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read one frame from a JSON file, files named from its folder, matrices 4x4 by rows.

    The form is {"ego2global", "timestamp", "lidar": {"file", "columns", "lidar2ego"}, "cameras": {name: {"image",
    "width", "height", "intrinsics", "cam2ego", "lidar2cam", "timestamp"}}}; ego2global at the LiDAR's time, lidar2cam
    with the car's motion between the two.

    Args:
        path: the JSON file.
        need_images: whether every image must be there; else missing ones get no path.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        An image for each camera, in the order of the file.

    Raises:
        InputError: the file is not such a frame, or images are missing.
    """
    path = Path(path)
    meta = read_json(path, "a nuScenes frame")
    where = str(path)
    lidar = entry(meta, "lidar", dict, where)
    cameras, lost = entry(meta, "cameras", dict, where), []
    for part, objects in (("file", [meta]), ("lidar", [lidar]), ("camera", cameras.values())):
        KEYS[part].check(objects, where)
    lidar_file = named_lidar(path.parent, lidar.get("file"), where, lost)
    note_lost(lost, where)
    world_from_lidar = rigid_rows(entry(meta, "ego2global", list, where), f"{where}: ego2global") @ rigid_rows(
        entry(lidar, "lidar2ego", list, where), f"{where}: lidar2ego"
    )
    columns = len(entry(lidar, "columns", list, where))
    frames = []
    for view, (name, camera) in enumerate(cameras.items()):
        at = f"{where}: {name}"
        camera_from_lidar = rigid_rows(entry(camera, "lidar2cam", list, at), f"{at}: lidar2cam")
        pose, K = world_from_lidar @ invert_rigid(camera_from_lidar), opencv_intrinsics(camera.get("intrinsics"), at)
        sweep = None if lidar_file is None else Lidar(lidar_file, camera_from_lidar, columns)
        time_s = number(camera.get("timestamp", 0.0), at)
        frames.append(stated_image(
            path.parent, camera.get("image"), camera, pose, K, at, view=view, time_s=time_s, lidar=sweep
        ))  # fmt: skip
    if not frames:
        raise InputError(f"{where}: no cameras; expected at least one")
    return PosedImages(settled(frames, where, path.parent, need_images, skip_missing))


@dataclass(frozen=True)
class NuscenesTables:
    """The tables of a nuScenes dataset, made by `NuscenesTables.read`.

    Attributes:
        root: the dataset's folder.
        rows: by table and token.
    """

    root: Path
    rows: dict[str, dict[str, dict[str, Any]]]

    @staticmethod
    def read(root: Path) -> "NuscenesTables":
        """Read the six tables that scenes and poses need.

        Raises:
            InputError: tables are missing or broken.
        """
        folder = _version(root)
        rows = {name: {str(row.get("token")): row for row in _table(folder, name)} for name in _TABLES}
        return NuscenesTables(root.resolve(), rows)

    def scene(self, name: str, skip_missing: bool = False) -> PosedImages:
        """The key frames of a scene, as `read_nuscenes` says."""
        scenes = [row for row in self.rows["scene"].values() if row.get("name") == name]
        if not scenes:
            known = sorted(str(row.get("name")) for row in self.rows["scene"].values())
            raise InputError(f"{self.root}: no scene {name!r}; expected one of {', '.join(known[:9])}")
        samples = {
            token: row for token, row in self.rows["sample"].items() if row.get("scene_token") == scenes[0]["token"]
        }
        taken: dict[str, dict[str, dict[str, Any]]] = {token: {} for token in samples}
        for row in self.rows["sample_data"].values():
            if row.get("is_key_frame") and row.get("sample_token") in taken:
                taken[row["sample_token"]][self._channel(row)] = row
        frames, lost = [], []
        for token in sorted(samples, key=lambda t: number(samples[t].get("timestamp"), f"sample {t}")):
            lidar = taken[token].get("LIDAR_TOP")
            for view, channel in enumerate(CAMERAS):
                if channel in taken[token]:
                    frames.append(self._frame(taken[token][channel], view, lidar, lost))
        if not frames:
            raise InputError(f"{self.root}: scene {name} without key frames; expected images")
        note_lost(lost, f"{self.root}: scene {name}")
        frames = settled(frames, f"{self.root}: scene {name}", self.root, skip_missing=skip_missing)
        return PosedImages(frames, caption=str(scenes[0].get("description", "")))

    def _frame(self, row: dict[str, Any], view: int, lidar: dict[str, Any] | None, lost: list[str]) -> PosedImage:
        where = f"{self.root}: {row.get('filename')}"
        pose = self._world_from_sensor(row)
        sweep = None
        if lidar is not None and (file := named_lidar(self.root, lidar.get("filename"), where, lost)) is not None:
            sweep = Sweep(file, 5, self._world_from_sensor(lidar)).seen_from(pose)
        K = opencv_intrinsics(self._row("calibrated_sensor", row).get("camera_intrinsic"), where)
        time_s = number(row.get("timestamp"), where) / 1e6
        return stated_image(self.root, row.get("filename"), row, pose, K, where, view=view, time_s=time_s, lidar=sweep)

    def _row(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        token = row.get(f"{table}_token")
        if token not in self.rows[table]:
            raise InputError(f"{self.root}: {table} {token} of {row.get('token')}; expected a row of {table}.json")
        return self.rows[table][str(token)]

    def _channel(self, row: dict[str, Any]) -> str:
        return str(self._row("sensor", self._row("calibrated_sensor", row)).get("channel"))

    def _world_from_sensor(self, row: dict[str, Any]) -> Float[torch.Tensor, "4 4"]:
        where = f"{self.root}: {row.get('filename')}"
        mounted, ego = self._row("calibrated_sensor", row), self._row("ego_pose", row)
        return motion_from_quaternion(ego.get("rotation"), ego.get("translation"), where) @ motion_from_quaternion(
            mounted.get("rotation"), mounted.get("translation"), where
        )


def _version(root: Path) -> Path:
    folders = sorted(f for f in root.glob("v1.0-*") if (f / "sample_data.json").is_file())
    if len(folders) != 1:
        raise InputError(
            f"{root}: {len(folders)} folders v1.0-* with tables; expected a nuScenes dataset of one version"
        )
    return folders[0]


def _table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows = read_json(folder / f"{name}.json", "a table of nuScenes", _MAX_BYTES)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{folder / name}.json: not a list of objects; expected a table of nuScenes")
    return rows
