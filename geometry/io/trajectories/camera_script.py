"""Camera scripts: shots as a small YAML (or JSON) file; every number has its unit, every error names its line.

camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m, fov: 50 deg}
fps: 24
size: 640x480
moves:
  - {dolly: 1 m, for: 2 s, speed: smooth}
  - {pan: 30 deg, truck: 50 cm, for: 3 s}        # both at once
  - {orbit: {by: 90 deg, around: 0 0 0.5 m, rise: 1 m}, for: 4 s}
  - hold: 1 s

The moves are those of `geometry.trajectory.moves.MOVES`. An entry has one or more of them, each with its first argument
alone or with all arguments by name (`by` is the first), and how long they take together.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.files import check_file
from geometry.rotation.transforms import look_at
from geometry.trajectory.moves import MOVES, Move, Quantity
from geometry.trajectory.shots import SPEED_PROFILES, Shot
from geometry.values import as_value

_UNITS = {
    "length": {"m": 1.0, "cm": 0.01, "mm": 0.001, "km": 1000.0},
    "angle": {"deg": 1.0, "rad": 180 / math.pi},
    "time": {"s": 1.0, "ms": 0.001, "min": 60.0},
    "factor": {"x": 1.0},
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_MOST_BYTES, _MOST_FRAMES, _DEEPEST = 1 << 20, 1_000_000, 8


@as_value
@dataclass(frozen=True)
class CameraScript:
    """What a camera script says.

    Attributes:
        shot: The moves of the camera.
        fps: Frames per second.
        hw: Height and width of the images in pixels.
    """

    shot: Shot
    fps: float
    hw: tuple[int, int]

    def cameras(self) -> Cameras:
        """The cameras of every frame [f]."""
        return self.shot.cameras(self.fps, self.hw)


@dataclass(frozen=True)
class _Value:
    """A part of the file, with the line it begins in. The content is text, a list of values, or values by key."""

    content: Any
    line: int


def read_camera_script(path: Path | str) -> CameraScript:
    """The script in a file.

    Args:
        path: A YAML or JSON file.

    Raises:
        InputError: If the file cannot be read or is not a camera script; the message names file and line.
    """
    path = Path(path)
    check_file(path, "a camera script", _MOST_BYTES)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); expected a camera script") from error
    return parse_camera_script(text, str(path))


def parse_camera_script(text: str, where: str = "script") -> CameraScript:
    """The script in a text.

    Args:
        text: YAML or JSON.
        where: What errors call the text.

    Raises:
        InputError: If the text is not a camera script; the message names the line.
    """
    script = _Script(where)
    top = script.mapping(script.parsed(text), ("camera", "moves", "fps", "size"), ("camera", "moves"))
    shot = script.camera(top["camera"])
    entries = top["moves"]
    if not isinstance(entries.content, list) or not entries.content:
        script.wrong(entries.line, "moves", "a list with at least one move")
    for entry in entries.content:
        shot = script.entry(shot, entry)
    fps = script.plain(top["fps"], "fps") if "fps" in top else 24.0
    if not 0 < fps <= 1000:
        script.wrong(top["fps"].line, f"fps {fps:g}", "more than 0, up to 1000")
    hw = script.size(top["size"]) if "size" in top else (480, 640)
    if shot.seconds * fps > _MOST_FRAMES:
        script.wrong(entries.line, f"{shot.seconds:g} s at {fps:g} frames a second", f"up to {_MOST_FRAMES} frames")
    return CameraScript(shot, fps, hw)


class _Script:
    """The parts of a file as values of known kinds; errors name the line."""

    def __init__(self, where: str):
        self.where = where

    def wrong(self, line: int, seen: str, expected: str) -> None:
        """Raises InputError for a line."""
        raise InputError(f"{self.where}, line {line}: {seen}; expected {expected}")

    def parsed(self, text: str) -> _Value:
        """The file's structure, with lines: text, lists and mappings only, without aliases."""
        import yaml

        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            reason = getattr(error, "problem", None) or type(error).__name__
            raise InputError(f"{self.where}{line}: {reason}; expected YAML or JSON") from error
        if node is None:
            raise InputError(f"{self.where}: an empty file; expected camera and moves")
        return self._value(node, set(), 0)

    def _value(self, node: Any, seen: set[int], depth: int) -> _Value:
        line = node.start_mark.line + 1
        if id(node) in seen or depth > _DEEPEST:
            self.wrong(line, "an alias, or too many levels", f"values written out, at most {_DEEPEST} levels deep")
        seen.add(id(node))
        if node.id == "scalar":
            return _Value(str(node.value).strip(), line)
        if node.id == "sequence":
            return _Value([self._value(child, seen, depth + 1) for child in node.value], line)
        content: dict[str, _Value] = {}
        for key, child in node.value:
            name = key.value if key.id == "scalar" else "?"
            if name in content:
                self.wrong(key.start_mark.line + 1, f"{name} twice", "each key once")
            content[name] = self._value(child, seen, depth + 1)
        return _Value(content, line)

    def mapping(self, value: _Value, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> dict[str, _Value]:
        """The parts of a mapping. All keys have to be known, and the needed ones there."""
        if not isinstance(value.content, dict):
            self.wrong(value.line, f"{_short(value)}", f"a mapping with {', '.join(known)}")
        for key, child in value.content.items():
            if key not in known:
                self.wrong(child.line, f"{key[:40]!r}", f"one of {', '.join(known)}")
        for key in needed:
            if key not in value.content:
                self.wrong(value.line, f"no {key}", f"{' and '.join(needed)}")
        return value.content

    def quantity(self, value: _Value, what: str, kind: str) -> float:
        """A number with a unit, in metres, degrees, seconds or as a factor."""
        units = _UNITS[kind]
        found = re.fullmatch(rf"({_NUMBER})\s*([a-z]+)", value.content) if isinstance(value.content, str) else None
        if found is None or found[2] not in units or not math.isfinite(float(found[1])):
            self.wrong(value.line, f"{what} {_short(value)}", f"a number with a unit of {kind}: {', '.join(units)}")
        assert found is not None
        return float(found[1]) * units[found[2]]

    def point(self, value: _Value, what: str) -> list[float]:
        """Three numbers with one unit, as "0 -3 1.5 m"."""
        text = value.content if isinstance(value.content, str) else ""
        found = re.fullmatch(rf"({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*([a-z]+)", text)
        if found is None or found[4] not in _UNITS["length"]:
            self.wrong(value.line, f"{what} {_short(value)}", 'x, y and z with a unit, as "0 -3 1.5 m"')
        assert found is not None
        numbers = [float(found[n]) * _UNITS["length"][found[4]] for n in (1, 2, 3)]
        if not all(map(math.isfinite, numbers)):
            self.wrong(value.line, f"{what} {_short(value)}", "finite numbers")
        return numbers

    def plain(self, value: _Value, what: str) -> float:
        """A number without a unit."""
        if not isinstance(value.content, str) or not re.fullmatch(_NUMBER, value.content):
            self.wrong(value.line, f"{what} {_short(value)}", "a number")
        return float(value.content)

    def size(self, value: _Value) -> tuple[int, int]:
        """Height and width of "640x480", which has the width first."""
        found = re.fullmatch(r"(\d{1,5})\s*x\s*(\d{1,5})", value.content) if isinstance(value.content, str) else None
        if found is None or min(int(found[1]), int(found[2])) < 1:
            self.wrong(value.line, f"size {_short(value)}", 'width x height in pixels, as "640x480"')
        assert found is not None
        return int(found[2]), int(found[1])

    def placed(self, value: _Value, what: str, known: tuple[str, ...]) -> tuple[torch.Tensor, dict[str, _Value]]:
        """The pose of a mapping with position and look_at."""
        parts = self.mapping(value, known, ("position", "look_at"))
        eye, target = self.point(parts["position"], "position"), self.point(parts["look_at"], "look_at")
        if eye == target:
            self.wrong(value.line, f"{what} whose position is its look_at", "two places")
        return look_at(*(torch.tensor(p, dtype=torch.float64) for p in (eye, target))), parts

    def camera(self, value: _Value) -> Shot:
        """The first camera."""
        pose, parts = self.placed(value, "a camera", ("position", "look_at", "fov"))
        fov = self.quantity(parts["fov"], "fov", "angle") if "fov" in parts else 50.0
        if not 0 < fov < 180:
            self.wrong(parts["fov"].line, f"fov {fov:g} deg", "more than 0 and less than 180 deg")
        return Shot(pose, fov)

    def entry(self, shot: Shot, value: _Value) -> Shot:
        """The shot with one entry of the list of moves."""
        parts = self.mapping(value, (*MOVES, "hold", "for", "speed"))
        if "hold" in parts:
            if len(parts) > 1:
                self.wrong(value.line, f"hold with {', '.join(set(parts) - {'hold'})}", "hold alone, as hold: 1 s")
            return shot.hold(self.duration(parts["hold"], "hold"))
        names = [name for name in parts if name in MOVES]
        if not names or "for" not in parts:
            self.wrong(value.line, f"{', '.join(parts) or 'nothing'}", "a move and for, as {dolly: 1 m, for: 2 s}")
        seconds = self.duration(parts["for"], "for")
        profile = parts["speed"].content if "speed" in parts else "even"
        if profile not in SPEED_PROFILES:
            self.wrong(parts["speed"].line, f"speed {_short(parts['speed'])}", f"one of {', '.join(SPEED_PROFILES)}")
        whole = self.move(names[0], parts[names[0]], seconds)
        for name in names[1:]:
            whole = whole & self.move(name, parts[name], seconds)
        return shot.then(whole, seconds, profile)

    def duration(self, value: _Value, what: str) -> float:
        """A positive time in seconds."""
        seconds = self.quantity(value, what, "time")
        if seconds <= 0:
            self.wrong(value.line, f"{what} {_short(value)}", "more than 0 s")
        return seconds

    def move(self, name: str, value: _Value, seconds: float) -> Move:
        """A move, from its first argument alone or from a mapping of all its arguments."""
        spec = MOVES[name]
        parts = {"by": value}
        if isinstance(value.content, dict):
            parts = self.mapping(value, ("by", *spec.arguments), ("by",))
        missing = [key for key in spec.required if key not in parts]
        if missing:
            self.wrong(value.line, name, f"also {', '.join(missing)}")
        first = self.argument(parts["by"], name, spec.by)
        others = {
            key: self.argument(part, f"{name} {key}", spec.arguments[key]) for key, part in parts.items() if key != "by"
        }
        if spec.timed:
            others["seconds"] = seconds
        try:
            return spec.make(first, **others)
        except InputError as error:
            raise InputError(f"{self.where}, line {value.line}: {name}: {error}") from error

    def argument(self, value: _Value, what: str, quantity: Quantity) -> Any:
        """An argument of a move."""
        if quantity == "count":
            number = self.plain(value, what)
            if number != int(number) or abs(number) > 10_000:
                self.wrong(value.line, f"{what} {_short(value)}", "a whole number up to 10000")
            return int(number)
        if quantity == "point":
            return self.point(value, what)
        if quantity in _UNITS:
            return self.quantity(value, what, quantity)
        if not isinstance(value.content, list):
            self.wrong(value.line, f"{what} {_short(value)}", "a list")
        if quantity == "points":
            return torch.tensor([self.point(part, what) for part in value.content], dtype=torch.float64).reshape(-1, 3)
        poses = [self.placed(part, what, ("position", "look_at"))[0] for part in value.content]
        return torch.stack(poses) if poses else torch.zeros(0, 4, 4, dtype=torch.float64)


def _short(value: _Value) -> str:
    text = value.content if isinstance(value.content, str) else f"a {type(value.content).__name__}"
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
