"""Camera scripts make the shot they describe, and errors name the line."""

import json
import math
import random
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from geometry.io.trajectories.camera_script import parse_camera_script, read_camera_script
from geometry.trajectory import moves
from geometry.trajectory.camera_state import CameraState
from geometry.trajectory.moves import MOVES, Move, MoveSpec
from geometry.trajectory.shots import Shot

TEXT = """\
# an establishing shot
camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m, fov: 50 deg}
fps: 12
size: 64x48
moves:
  - {dolly: 1 m, for: 2 s, speed: smooth}
  - {pan: 30 deg, truck: 50 cm, for: 1500 ms}
  - {orbit: {by: 90 deg, around: 0 0 0.5 m, rise: 1 m}, for: 4 s}
  - hold: 1 s
  - {zoom: 2x, handheld: {by: 0.5 deg, shift: 1 cm, seed: 3}, for: 1 s}
  - {lawnmower: {by: 2 m, spacing: 0.5 m, rows: 3}, for: 3 s}
  - {follow: {by: [0 0 0 m, 4 0 0 m, 4 4 0 m], distance: 3 m, height: 1 m}, for: 2 s}
  - fly_through: [{position: 0 0 2 m, look_at: 1 0 1 m}, {position: 2 1 2 m, look_at: 1 0 1 m}]
    for: 2 s
"""
HEAD = "camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m}\nmoves:\n"


def test_a_script_is_the_shot_that_python_would_make() -> None:
    script = parse_camera_script("\n".join(TEXT.splitlines()[:9]))
    shot = (
        Shot.looking((0.0, -3.0, 1.5), (0.0, 0.0, 0.5), 50.0)
        .then(moves.dolly(1.0), 2.0, "smooth")
        .then(moves.pan(30.0) & moves.truck(0.5), 1.5)
        .then(moves.orbit(90.0, around=(0.0, 0.0, 0.5), rise=1.0), 4.0)
        .hold(1.0)
    )
    wanted, found = shot.cameras(12.0, (48, 64)), script.cameras()
    assert (script.fps, script.hw) == (12.0, (48, 64))
    assert torch.equal(found.world_from_camera, wanted.world_from_camera) and torch.equal(found.K, wanted.K)
    assert torch.equal(found.time_s, wanted.time_s)


def test_every_move_can_be_scripted(tmp_path: Path) -> None:
    path = tmp_path / "shot.yaml"
    path.write_text(TEXT)
    cameras = read_camera_script(path).cameras()
    assert len(cameras) == 199 and bool(cameras.world_from_camera.isfinite().all())
    assert torch.allclose(cameras.centers[-1], torch.tensor([2.0, 1.0, 2.0]), atol=1e-5)


def test_json_is_read_too_and_defaults_fill_in() -> None:
    script = parse_camera_script(json.dumps({
        "camera": {"position": "0 0 1 m", "look_at": "1 0 1 m"}, "moves": [{"dolly": "0.1 km", "for": "1 min"}],
    }))  # fmt: skip
    assert script.shot.seconds == 60 and (script.fps, script.hw, script.shot.fov_deg) == (24.0, (480, 640), 50.0)
    assert torch.allclose(script.cameras().centers[-1], torch.tensor([100.0, 0, 1]), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + "  - {dolly: 1, for: 2 s}", 3, ("dolly '1'", "unit of length: m, cm")),
        (HEAD + "  - hold: 1 s\n  - {pan: 30 m, for: 2 s}", 4, ("pan '30 m'", "deg, rad")),
        (HEAD + "  - {dolly: 1 m, for: 0 s}", 3, ("for '0 s'", "more than 0")),
        (HEAD + "  - {dolly: 1 m}", 3, ("dolly", "a move and for")),
        (HEAD + "  - {dolly: 1 m, for: 1 s, speed: jerky}", 3, ("'jerky'", "smooth")),
        (HEAD + "  - {jump: 1 m, for: 1 s}", 3, ("'jump'", "pedestal")),
        (HEAD + "  - {crane: 1 m, for: 1 s}", 3, ("crane", "also distance")),
        (HEAD + "  - {orbit: 90 deg, for: 1 s}", 3, ("orbit", "exactly one")),
        (HEAD + "  - {orbit: {by: 90 deg, around: 0 0 m}, for: 1 s}", 3, ("around '0 0 m'", "x, y and z")),
        (HEAD + "  - {hold: 1 s, dolly: 1 m}", 3, ("hold with dolly", "alone")),
        (HEAD + "  - {lawnmower: {by: 1 m, spacing: 1 m, rows: 2.5}, for: 1 s}", 3, ("'2.5'", "whole number")),
        (HEAD + "  - {fly_through: [], for: 1 s}", 3, ("0 poses",)),
        (HEAD.replace("moves:", "fps: -1\nmoves:") + "  - hold: 1 s", 2, ("fps -1",)),
        (HEAD.replace("moves:", "size: 640\nmoves:") + "  - hold: 1 s", 2, ("size '640'", "640x480")),
        (HEAD.replace("moves:", "fps: 1\nfps: 2\nmoves:") + "  - hold: 1 s", 3, ("fps twice",)),
        ("camera: {position: 0 0 1 m, look_at: 0 0 1 m}\nmoves: [hold: 1 s]", 1, ("two places",)),
        ("camera: {position: 0 0 1 m}\nmoves: [hold: 1 s]", 1, ("no look_at",)),
        ("camera: &a {position: 0 0 1 m, look_at: 1 0 1 m}\nmoves: [*a]", 1, ("alias",)),
        (HEAD + "  - hold: 1 s\n x: [", 4, ("YAML or JSON",)),
        (HEAD + "  - hold: 1000000000 min", 3, ("up to 1000000 frames",)),
        (HEAD + "  - {dolly: 1e999 m, for: 1 s}", 3, ("1e999",)),
    ],
)
def test_errors_name_the_line(text: str, line: int, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        parse_camera_script(text, "shot.yaml")
    message = str(caught.value)
    assert f"shot.yaml, line {line}: " in message and "\n" not in message, message
    assert [word for word in words if word not in message] == [], message


def wobble(degrees: float, period: float = 1.0, seconds: float = 1.0) -> Move:
    """Roll to and fro; ends level after whole periods."""

    def apply(start: CameraState, share: torch.Tensor) -> CameraState:
        return moves.roll(degrees).apply(start, (2 * math.pi * share * seconds / period).sin())

    return Move(apply)


def test_a_move_from_outside_can_be_scripted(monkeypatch, refused) -> None:
    line = HEAD + "  - {wobble: {by: 2 deg, period: 500 ms}, for: 2 s}"
    with refused("line 3", "'wobble'", "pedestal"):
        parse_camera_script(line)
    monkeypatch.setitem(MOVES, "wobble", MoveSpec(wobble, "angle", {"period": "time"}))
    found = parse_camera_script(line).cameras()
    assert torch.equal(found.world_from_camera, Shot.looking((0.0, -3.0, 1.5), (0.0, 0.0, 0.5)).then(
        wobble(2.0, 0.5, 2.0), 2.0).cameras(24.0, (480, 640)).world_from_camera)  # fmt: skip
    assert MOVES["wobble"].doc == "Roll to and fro; ends level after whole periods."
    with refused("line 3", "wobble period '1 m'", "unit of time: s, ms"):
        parse_camera_script(HEAD + "  - {wobble: {by: 2 deg, period: 1 m}, for: 2 s}")
    with refused("line 3", "wobble '2 m'", "deg, rad"):
        parse_camera_script(HEAD + "  - {wobble: 2 m, for: 2 s}")


def test_corrupt_files_raise_only_input_errors(tmp_path: Path) -> None:
    draw = random.Random(0)
    letters = "{}[]:,-&*!|>'\"%@`#\t\n 0123456789.emsx\x00\xff"
    for n in range(1000):
        text = list(TEXT)
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(text))
            match draw.randrange(3):
                case 0:
                    text[place] = draw.choice(letters)
                case 1:
                    del text[place : place + draw.randint(1, 30)]
                case _:
                    text.insert(place, draw.choice(letters) * draw.randint(1, 20))
        try:
            script = parse_camera_script("".join(text), f"script {n}")
            script.shot.at(torch.tensor([0.0, 1.0]))
        except InputError as error:
            assert "\n" not in str(error)
    for data in (b"\xff\xfe\x00", b"[" * 100_000, b"", b"a: " * 10):
        path = tmp_path / "spoilt.yaml"
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_camera_script(path)
