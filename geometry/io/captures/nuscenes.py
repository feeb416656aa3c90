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
from geometry.io.captures.posed import Lidar, PosedImage, PosedImages
from geometry.io.entries import (
    entry,
    inside,
    json_keys,
    motion_from_quaternion,
    number,
    opencv_intrinsics,
    rigid_rows,
    sized_image,
)  # fmt: skip
from geometry.io.files import read_json
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float

CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT")
_MAX_BYTES = 2**31
_TABLES = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")


def is_nuscenes(root: Path) -> bool:
    """Whether a folder is a dataset, with its tables."""
    return any(root.glob("v1.0-*/sample_data.json"))


def is_nuscenes_frame(path: Path) -> bool:
    """Whether a file is a frame that `read_nuscenes_frame` reads."""
    return {"cameras", "lidar"} <= json_keys(path)[0]


def nuscenes_captures(root: Path) -> list[tuple[str, Callable[[], PosedImages]]]:
    """The scenes of a dataset, by name, and what reads each; the tables are read once, when the first one is."""
    tables = cache(partial(NuscenesTables.read, root))
    return [(name, lambda name=name: tables().scene(name)) for name in nuscenes_scenes(root)]


def nuscenes_scenes(root: Path) -> list[str]:
    """The names of the scenes of a dataset. Raises InputError when `root` holds none."""
    return [str(row.get("name")) for row in _table(_version(root), "scene")]


def read_nuscenes(root: Path | str, scene: str) -> PosedImages:
    """The key frames of a scene: six images at each time in the order of `CAMERAS`, with the LiDAR sweep of that
    time; `view` is the place in CAMERAS, the caption the scene's description.

    root  the folder that holds `samples` and the tables (`v1.0-trainval` or the like)

    To read many scenes, read the tables once: `NuscenesTables.read(root).scene(name)`. Raises InputError for a scene
    that is not there, tables that lack what they name, and missing images.
    """
    root = Path(root)
    return NuscenesTables.read(root).scene(scene)


def read_nuscenes_frame(path: Path | str) -> PosedImages:
    """One frame from a JSON file of this form, files named from its folder, matrices 4x4 by rows:

    {"ego2global", "timestamp", "lidar": {"file", "columns", "lidar2ego"}, "cameras": {name: {"image", "width",
    "height", "intrinsics", "cam2ego", "lidar2cam", "timestamp"}}}; ego2global at the LiDAR's time, lidar2cam with the
    car's motion between the two. Raises InputError as `read_nuscenes` does.
    """
    path = Path(path)
    meta = read_json(path, "a nuScenes frame")
    where = str(path)
    lidar = entry(meta, "lidar", dict, where)
    lidar_file = inside(path.parent.resolve(), str(lidar.get("file")), where)
    world_from_lidar = rigid_rows(entry(meta, "ego2global", list, where), f"{where}: ego2global") @ rigid_rows(
        entry(lidar, "lidar2ego", list, where), f"{where}: lidar2ego"
    )
    columns = len(entry(lidar, "columns", list, where))
    frames = []
    for view, (name, camera) in enumerate(entry(meta, "cameras", dict, where).items()):
        at = f"{where}: {name}"
        camera_from_lidar = rigid_rows(entry(camera, "lidar2cam", list, at), f"{at}: lidar2cam")
        image, hw = sized_image(path.parent, camera.get("image"), (camera.get("height"), camera.get("width")), at)
        frames.append(
            PosedImage(
                file_path=str(camera.get("image")),
                path=image,
                world_from_camera=world_from_lidar @ invert_rigid(camera_from_lidar),
                K=opencv_intrinsics(camera.get("intrinsics"), at),
                hw=hw,
                view=view,
                time_s=number(camera.get("timestamp", 0.0), at),
                lidar=None if lidar_file is None else Lidar(lidar_file, camera_from_lidar, columns),
            )
        )
    if not frames:
        raise InputError(f"{where}: no cameras; expected at least one")
    return PosedImages(tuple(frames))


@dataclass(frozen=True)
class NuscenesTables:
    """The tables of a dataset, each a dictionary by token; made by `NuscenesTables.read`."""

    root: Path
    rows: dict[str, dict[str, dict[str, Any]]]

    @staticmethod
    def read(root: Path) -> "NuscenesTables":
        """Read the six tables that scenes and poses need. Raises InputError for missing or broken ones."""
        folder = _version(root)
        rows = {name: {str(row.get("token")): row for row in _table(folder, name)} for name in _TABLES}
        return NuscenesTables(root.resolve(), rows)

    def scene(self, name: str) -> PosedImages:
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
        frames = []
        for token in sorted(samples, key=lambda t: number(samples[t].get("timestamp"), f"sample {t}")):
            lidar = taken[token].get("LIDAR_TOP")
            for view, channel in enumerate(CAMERAS):
                if channel in taken[token]:
                    frames.append(self._frame(taken[token][channel], view, lidar))
        if not frames:
            raise InputError(f"{self.root}: scene {name} without key frames; expected images")
        return PosedImages(tuple(frames), caption=str(scenes[0].get("description", "")))

    def _frame(self, row: dict[str, Any], view: int, lidar: dict[str, Any] | None) -> PosedImage:
        where = f"{self.root}: {row.get('filename')}"
        image, hw = sized_image(self.root, row.get("filename"), (row.get("height"), row.get("width")), where)
        pose = self._world_from_sensor(row)
        sweep = None
        if lidar is not None and (file := inside(self.root, str(lidar.get("filename")), where)) is not None:
            sweep = Lidar(file, invert_rigid(pose) @ self._world_from_sensor(lidar), columns=5)
        return PosedImage(
            file_path=str(row.get("filename")),
            path=image,
            world_from_camera=pose,
            K=opencv_intrinsics(self._row("calibrated_sensor", row).get("camera_intrinsic"), where),
            hw=hw,
            view=view,
            time_s=number(row.get("timestamp"), where) / 1e6,
            lidar=sweep,
        )

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
        raise InputError(f"{folder / name}.json: no list of objects; expected a table of nuScenes")
    return rows
