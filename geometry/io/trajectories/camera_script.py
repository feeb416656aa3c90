"""Camera scripts: shots as a small YAML (or JSON) file, every number with its unit, every error with its line.

camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m, fov: 50 deg}
fps: 24
size: 640x480
moves:
  - {dolly: 1 m, for: 2 s, speed: smooth}
  - {pan: 30 deg, truck: 50 cm, for: 3 s}        # both at once
  - {orbit: {by: 90 deg, around: 0 0 0.5 m, rise: 1 m}, for: 4 s}
  - hold: 1 s
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.files import check_file
from geometry.rotation.transforms import look_at
from geometry.trajectory import moves
from geometry.trajectory.moves import PROFILES, Move, Shot

_UNITS = {
    "length": {"m": 1.0, "cm": 0.01, "mm": 0.001, "km": 1000.0},
    "angle": {"deg": 1.0, "rad": 180 / math.pi},
    "time": {"s": 1.0, "ms": 0.001, "min": 60.0},
    "factor": {"x": 1.0},
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_MOST_BYTES, _MOST_FRAMES, _DEEPEST = 1 << 20, 1_000_000, 8


@dataclass(frozen=True)
class CameraScript:
    """What a file says: a shot, its frames a second, and the size of its images."""

    shot: Shot
    fps: float
    hw: tuple[int, int]

    def cameras(self) -> Cameras:
        """The cameras of every frame [f]."""
        return self.shot.cameras(self.fps, self.hw)


@dataclass(frozen=True)
class _Value:
    """A part of the file, with the line it begins in: text, a list, or a mapping with the lines of its keys."""

    content: Any
    line: int


@dataclass(frozen=True)
class _Kind:
    """A move: what makes it, what its own number measures, and what else it can be told (None = a count)."""

    make: Callable[..., Move]
    by: str
    own: str = ""
    further: dict[str, str | None] = field(default_factory=dict)


_LENGTHS = {"distance": "length", "rise": "length", "closer": "length"}
_KINDS = {
    "dolly": _Kind(moves.dolly, "length"),
    "truck": _Kind(moves.truck, "length"),
    "pedestal": _Kind(moves.pedestal, "length"),
    "pan": _Kind(moves.pan, "angle"),
    "tilt": _Kind(moves.tilt, "angle"),
    "roll": _Kind(moves.roll, "angle"),
    "zoom": _Kind(moves.zoom, "factor"),
    "dolly_zoom": _Kind(moves.dolly_zoom, "length", further={"distance": "length"}),
    "orbit": _Kind(moves.orbit, "angle", further={**_LENGTHS, "around": "point"}),
    "crane": _Kind(moves.crane, "length", further={"distance": "length"}),
    "figure_eight": _Kind(moves.figure_eight, "length", further={"height": "length", "distance": "length"}),
    "lawnmower": _Kind(moves.lawnmower, "length", further={"spacing": "length", "rows": None}),
    "handheld": _Kind(moves.handheld, "angle", further={"shift": "length", "seed": None}),
    "follow": _Kind(moves.follow, "points", further={"distance": "length", "height": "length"}),
    "fly_through": _Kind(moves.fly_through, "keyframes"),
}
_RENAMED = {"around": "pivot", "shift": "metres"}


def read_camera_script(path: Path | str) -> CameraScript:
    """The script in a file. Raises InputError, naming file and line, for anything that is not as it should be."""
    path = Path(path)
    check_file(path, "a camera script", _MOST_BYTES)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); expected a camera script") from error
    return parse_camera_script(text, str(path))


def parse_camera_script(text: str, where: str = "script") -> CameraScript:
    """The script that a text is; `where` names it in errors."""
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
    """A file being read: what is asked of its parts, with errors that name the line."""

    def __init__(self, where: str):
        self.where = where

    def wrong(self, line: int, seen: str, expected: str) -> None:
        """The error."""
        raise InputError(f"{self.where}, line {line}: {seen}; expected {expected}")

    def parsed(self, text: str) -> _Value:
        """The file's structure, with lines. Nothing but text, lists and mappings, each said once."""
        import yaml

        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            reason = getattr(error, "problem", None) or type(error).__name__
            raise InputError(f"{self.where}{line}: {reason}; expected YAML or JSON") from error
        if node is None:
            raise InputError(f"{self.where}: nothing; expected camera and moves")
        return self._value(node, set(), 0)

    def _value(self, node: Any, seen: set[int], depth: int) -> _Value:
        line = node.start_mark.line + 1
        if id(node) in seen or depth > _DEEPEST:
            self.wrong(line, "an alias, or too many levels", "each thing said where it is")
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
        """A mapping with keys that are known."""
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
        """A number with a unit: metres, degrees, seconds or a factor."""
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
        """Height and width of "640x480", which says the width first."""
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
            self.wrong(value.line, f"{what} whose position is what it looks at", "two places")
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
        parts = self.mapping(value, (*_KINDS, "hold", "for", "speed"))
        if "hold" in parts:
            if len(parts) > 1:
                self.wrong(value.line, f"hold with {', '.join(set(parts) - {'hold'})}", "hold alone, as hold: 1 s")
            return shot.hold(self.duration(parts["hold"], "hold"))
        names = [name for name in parts if name in _KINDS]
        if not names or "for" not in parts:
            self.wrong(value.line, f"{', '.join(parts) or 'nothing'}", "a move and for, as {dolly: 1 m, for: 2 s}")
        seconds = self.duration(parts["for"], "for")
        profile = parts["speed"].content if "speed" in parts else "even"
        if profile not in PROFILES:
            self.wrong(parts["speed"].line, f"speed {_short(parts['speed'])}", f"one of {', '.join(PROFILES)}")
        whole = self.move(names[0], parts[names[0]], seconds)
        for name in names[1:]:
            whole = whole & self.move(name, parts[name], seconds)
        return shot.then(whole, seconds, profile)

    def duration(self, value: _Value, what: str) -> float:
        """A time of more than nothing."""
        seconds = self.quantity(value, what, "time")
        if seconds <= 0:
            self.wrong(value.line, f"{what} {_short(value)}", "more than 0 s")
        return seconds

    def move(self, name: str, value: _Value, seconds: float) -> Move:
        """A move, from its own number alone or from a mapping of all it is told."""
        kind = _KINDS[name]
        parts = {"by": value}
        if isinstance(value.content, dict):
            parts = self.mapping(value, ("by", *kind.further), ("by",))
        own = self.argument(parts["by"], name, kind.by)
        told = {
            _RENAMED.get(key, key): self.argument(part, f"{name} {key}", kind.further[key])
            for key, part in parts.items()
            if key != "by"
        }
        if name == "handheld":
            told = {"metres": 0.0, **told, "seconds": seconds}
        try:
            return kind.make(own, **told)
        except TypeError:
            self.wrong(value.line, name, f"also {', '.join(key for key in kind.further if key not in parts)}")
        except InputError as error:
            raise InputError(f"{self.where}, line {value.line}: {name}: {error}") from error
        raise AssertionError(name)

    def argument(self, value: _Value, what: str, kind: str | None) -> Any:
        """What a move is told, by its kind."""
        if kind is None:
            number = self.plain(value, what)
            if number != int(number) or abs(number) > 10_000:
                self.wrong(value.line, f"{what} {_short(value)}", "a whole number up to 10000")
            return int(number)
        if kind == "point":
            return self.point(value, what)
        if kind in _UNITS:
            return self.quantity(value, what, kind)
        if not isinstance(value.content, list):
            self.wrong(value.line, f"{what} {_short(value)}", "a list")
        if kind == "points":
            return torch.tensor([self.point(part, what) for part in value.content], dtype=torch.float64).reshape(-1, 3)
        poses = [self.placed(part, what, ("position", "look_at"))[0] for part in value.content]
        return torch.stack(poses) if poses else torch.zeros(0, 4, 4, dtype=torch.float64)


def _short(value: _Value) -> str:
    text = value.content if isinstance(value.content, str) else f"a {type(value.content).__name__}"
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
