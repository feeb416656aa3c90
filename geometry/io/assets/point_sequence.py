"""Point clouds over time: a folder with a PLY for each moment, and index.json with their times.

All moments share one world, by this package's conventions (z up, metres).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from geometry.errors import InputError
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.entries import entry, inside, number, shown
from geometry.io.files import read_json, write_json
from geometry.points.pointclouds import PointCloud
from geometry.similarity import Similarity

FORMAT = "worldgen point clouds 1"
_CONVENTION = "right-handed world, z up, metres; colours sRGB; times in seconds"
_INDEX = "index.json"


@dataclass(frozen=True)
class PointSequence:
    """Point clouds in files, each read when it is indexed.

    Attributes:
        time_s: of each cloud, seconds.
        paths: their PLY files.
        frame: the name of the world they are in ("map", "start of the drive"), if known.
    """

    time_s: tuple[float, ...]
    paths: tuple[Path, ...]
    frame: str | None = None

    def __len__(self) -> int:
        """The number of moments."""
        return len(self.paths)

    def __getitem__(self, index: int) -> PointCloud:
        """The cloud of a moment.

        Raises:
            InputError: as `read_ply` raises it, or the file holds a mesh.
        """
        cloud = read_ply(self.paths[index])
        if not isinstance(cloud, PointCloud):
            raise InputError(f"{self.paths[index]}: a mesh; expected a point cloud")
        return cloud

    def __iter__(self) -> Iterator[PointCloud]:
        """The clouds in their order."""
        return (self[index] for index in range(len(self)))


def write_point_sequence(
    folder: Path | str,
    clouds: Iterable[tuple[float, PointCloud]],
    frame: str | None = None,
    stored_from_user: Similarity | None = None,
) -> None:
    """Write point clouds one after another as they come, and then the index.

    The folder holds a sequence only once all is written.

    Args:
        folder: a folder without a sequence.
        clouds: each with its time in seconds, increasing.
        frame: the name of their world.
        stored_from_user: the world to store them in; readers undo it.

    Raises:
        InputError: the folder holds a sequence, there are no clouds, times do not increase, or PLY cannot hold a cloud.
    """
    folder = Path(folder)
    if (folder / _INDEX).exists():
        raise InputError(f"{folder}: holds {_INDEX} already; expected a new folder")
    frames: list[dict[str, Any]] = []
    for n, (time_s, cloud) in enumerate(clouds):
        _check_time(time_s, frames, f"{folder}: cloud {n}")
        frames.append({"file": f"{n:06d}.ply", "time_s": float(time_s), "points": len(cloud)})
        write_ply(folder / frames[-1]["file"], cloud, (), stored_from_user)
    if not frames:
        raise InputError(f"{folder}: no point clouds; expected at least one")
    index = {"format": FORMAT, "convention": _CONVENTION, "frame": frame, "frames": frames}
    write_json(folder / _INDEX, index)


def read_point_sequence(folder: Path | str) -> PointSequence:
    """Open a sequence; only its index is read.

    Args:
        folder: of the sequence.

    Returns:
        The times, and the clouds to index.

    Raises:
        InputError: anything else, times that do not increase, and files that are missing or not below the folder; the
            message names file and place.
    """
    folder = Path(folder)
    path = folder / _INDEX
    data = read_json(path, "an index of point clouds")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path}: another format; expected {FORMAT!r}")
    frame = data.get("frame")
    if frame is not None and not isinstance(frame, str):
        raise InputError(f"{path}: frame {shown(frame)}; expected a name")
    frames, checked, paths = entry(data, "frames", list, str(path)), [], []
    if not frames:
        raise InputError(f"{path}: no frames; expected at least one")
    for n, item in enumerate(frames):
        where = f"{path}: frame {n}"
        if not isinstance(item, dict):
            raise InputError(f"{where} {shown(item)}; expected a file and a time")
        paths.append(_inside(folder, item.get("file"), where))
        _check_time(item.get("time_s"), checked, where)
        checked.append({"time_s": float(item["time_s"])})
    return PointSequence(tuple(item["time_s"] for item in checked), tuple(paths), frame)


def _check_time(time_s: Any, before: list[dict[str, Any]], where: str) -> None:
    if number(time_s, f"{where}: time") <= (before[-1]["time_s"] if before else float("-inf")):
        raise InputError(f"{where}: time {shown(time_s)} s after {before[-1]['time_s']} s; expected increasing times")


def _inside(folder: Path, name: Any, where: str) -> Path:
    """The file of a name relative to the folder. Raises InputError for one that is missing or elsewhere."""
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
        raise InputError(f"{where}: file {shown(name)}; expected a name relative to {folder}")
    if (path := inside(folder.resolve(), name, where)) is None:
        raise InputError(f"{where}: no file {shown(name)}; expected it in {folder}")
    return path
