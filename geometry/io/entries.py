"""Checked values of JSON files: entries as numbers, poses, intrinsics and paths.

All functions take `where`, the file and place that an error begins with, and raise InputError.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from geometry.errors import InputError, note
from geometry.io.files import read_json
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import rigid
from geometry.shapes import Float

_MENDABLE, _EXACT = 1e-2, 1e-5  # errors of rotations: up to the first they are corrected, up to the second kept
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Keys:
    """The keys of a kind of object that a reader knows; any other is noted, since it may carry meaning.

    read      what the reader reads
    harmless  what changes nothing of it
    refused   what would change the meaning of what is read, each with what the reader expects instead
    """

    read: frozenset[str]
    harmless: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(read: str, harmless: str = "", **refused: str) -> "Keys":
        """Keys from words with spaces between them."""
        return Keys(frozenset(read.split()), frozenset(harmless.split()), refused)

    def check(self, objects: Iterable[Any], where: str) -> None:
        """Raise InputError for a refused key in one of some objects, and say once which unknown keys they have."""
        found = {key for item in objects if isinstance(item, dict) for key in item}
        if wrong := sorted(found & self.refused.keys()):
            raise InputError(f"{where}: {wrong[0]}, which is not read; expected {self.refused[wrong[0]]}")
        if unknown := sorted(found - self.read - self.harmless):
            shown_keys = ", ".join(key[:40] for key in unknown[:8]) + (", ..." if unknown[8:] else "")
            note(f"{where}: not read: {shown_keys}")


def json_keys(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of a JSON file's object, and those of the first of its "frames"; empty where there is no such thing.

    Tells formats apart that share the suffix .json. The keys of the last file are cached, since each format asks.
    """
    if path.suffix != ".json" or not path.is_file():
        return frozenset(), frozenset()
    stat = path.stat()
    return _json_keys(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _json_keys(path: Path, _modified_ns: int, _bytes: int) -> tuple[frozenset[str], frozenset[str]]:
    try:
        meta = read_json(path, "a capture", 2**30)
    except InputError:
        return frozenset(), frozenset()
    keys = frozenset(meta) if isinstance(meta, dict) else frozenset[str]()
    frames = meta["frames"] if "frames" in keys and isinstance(meta["frames"], list) else []
    return keys, frozenset(frames[0]) if frames and isinstance(frames[0], dict) else frozenset()


def columns(path: Path) -> int:
    """How many numbers the first line of numbers of a text file has; 0 where there is none near its beginning.

    Tells formats apart that share the suffix .txt.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(65536).splitlines()[:50]
    except OSError:
        return 0
    for line in lines:
        words = line.split(b"#")[0].replace(b",", b" ").split()
        try:
            if [float(word) for word in words]:
                return len(words)
        except ValueError:
            continue
    return 0


def entry(meta: Any, key: str, kind: type, where: str) -> Any:
    """`meta[key]`, which must be of a kind (dict or list)."""
    if not isinstance(meta, dict) or not isinstance(meta.get(key), kind):
        raise InputError(f"{where}: no {key}; expected {'an object' if kind is dict else 'a list'} of that name")
    return meta[key]


def number(value: Any, where: str) -> float:
    """A finite number; true, false and text do not count."""
    try:
        found = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{where}: {shown(value)}; expected a finite number")
    return found


def shown(value: Any) -> str:
    """A value from a file, short enough for one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def rigid_rows(rows: Any, where: str) -> Float[torch.Tensor, "4 4"]:
    """A 3x4 or 4x4 list of rows as a rigid motion in float64."""
    if not isinstance(rows, list) or len(rows) not in (3, 4) or any(not isinstance(r, list) for r in rows):
        raise InputError(f"{where} {shown(rows)}; expected 4x4 or 3x4 numbers")
    if any(len(row) != 4 for row in rows):
        raise InputError(f"{where} with rows of {sorted({len(row) for row in rows})} numbers; expected 4 each")
    matrix = torch.tensor([[number(value, where) for value in row] for row in rows], dtype=torch.float64)
    bottom = matrix.new_tensor([0, 0, 0, 1])
    if len(rows) == 4 and not torch.allclose(matrix[3], bottom, atol=1e-6):
        raise InputError(f"{where} with last row {matrix[3].tolist()}; expected 0 0 0 1")
    rotation = matrix[:3, :3]
    error = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max())
    if not error < _MENDABLE:
        raise InputError(f"{where} is off a rotation by {error:.2g}; expected a rigid motion, without scale or shear")
    if float(torch.linalg.det(rotation)) < 0:
        raise InputError(f"{where} mirrors (determinant -1); expected a rotation")
    if error > _EXACT:
        u, _, vh = torch.linalg.svd(rotation)
        matrix[:3, :3] = u @ vh
    return torch.cat([matrix[:3], bottom[None]])


def motion_from_quaternion(wxyz: Any, translation: Any, where: str) -> Float[torch.Tensor, "4 4"]:
    """A rigid motion, float64, from lists of 4 and 3 numbers."""
    values = []
    for given, count in ((wxyz, 4), (translation, 3)):
        if not isinstance(given, list) or len(given) != count:
            raise InputError(f"{where}: pose {shown(given)}; expected {count} numbers")
        values.append(torch.tensor([number(value, where) for value in given], dtype=torch.float64))
    if not 0.99 < float(values[0].norm()) < 1.01:
        raise InputError(f"{where}: rotation {values[0].tolist()}; expected a unit quaternion")
    return rigid(matrix_from_quaternion_wxyz(values[0] / values[0].norm()), values[1])


def intrinsics_rows(rows: Any, where: str) -> Float[torch.Tensor, "3 3"]:
    """A 3x3 list of rows as intrinsics in float64, wherever they have the first pixel's center."""
    if not isinstance(rows, list) or len(rows) != 3 or any(not isinstance(r, list) or len(r) != 3 for r in rows):
        raise InputError(f"{where} {shown(rows)}; expected 3x3 numbers")
    K = torch.tensor([[number(value, where) for value in row] for row in rows], dtype=torch.float64)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2].tolist() == [0, 0, 1]):
        raise InputError(f"{where} {shown(rows)}; expected focal lengths above 0 and a last row 0 0 1")
    return K


def opencv_intrinsics(rows: Any, where: str) -> Float[torch.Tensor, "3 3"]:
    """Intrinsics with the image's corner at (0, 0), from ones that have the first pixel's center there."""
    K = intrinsics_rows(rows, f"{where}: intrinsics")
    K[:2, 2] += 0.5
    return K


def confined(root: Path, name: str, where: str) -> Path:
    """The path of that name below the resolved folder `root`, links followed; an error when it is outside."""
    try:
        found = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{where}: not a usable file name; expected the name of a file") from error
    if not found.is_relative_to(root):
        raise InputError(f"{where}: a path out of the file's folder; expected one below {root}")
    return found


def listed_file(root: Path, name: str, where: str) -> Path | None:
    """The file that a capture calls `name`, below the folder `root`; None when it is missing.

    Backslashes are separators, a suffix of images is added where needed, and links that the user made are followed. A
    name that itself leads out of the folder is refused.
    """
    if "\0" in name:
        raise InputError(f"{where}: not a usable file name; expected the name of a file")
    for written in dict.fromkeys((name, name.replace("\\", "/"))):
        parts = PurePosixPath(written).parts
        absolute = PureWindowsPath(written).is_absolute() or PurePosixPath(written).is_absolute()
        if ".." in parts or (absolute and not written.startswith(f"{root}/")):
            raise InputError(f"{where}: a path out of the file's folder; expected one below {root}")
        for suffix in _SUFFIXES:
            try:
                if (found := root / (written + suffix)).is_file():
                    return found
            except (OSError, ValueError) as error:
                raise InputError(f"{where}: not a usable file name; expected the name of a file") from error
    return None


def inside(root: Path, name: str, where: str) -> Path | None:
    """The file of that name, with a suffix of images added where needed; None when missing; confined to `root`."""
    for suffix in _SUFFIXES:
        candidate = confined(root, name + suffix, where)
        try:
            if candidate.is_file():
                return candidate
        except OSError as error:
            raise InputError(f"{where}: not a usable file name; expected the name of a file") from error
    return None
