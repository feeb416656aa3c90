"""Bad input on the command line: one clear line, exit code 2, nothing half-written."""

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from geometry.camera.cameras import Cameras
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from worldgen.cli import main

Refused = Callable[..., str]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image that is all right."""
    write_png(tmp_path / "picture.png", torch.rand(3, 20, 24))
    return tmp_path / "picture.png"


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused, and returns its one line."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert err.startswith("worldgen: ") and err.count("\n") == 1 and "Traceback" not in err and out == ""
        return err

    return run


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """The transforms.json of three images."""
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 3), 50.0, (16, 16))
    names = [f"{i}.png" for i in range(3)]
    for name in names:
        write_png(tmp_path / name, torch.rand(3, 16, 16))
    write_transforms(tmp_path / "transforms.json", cameras, names)
    return tmp_path / "transforms.json"


def edited(file: Path, change: Callable[[dict], object]) -> Path:
    """The file with its JSON changed."""
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return file


def test_a_missing_image(refused: Refused, tmp_path: Path) -> None:
    assert "no such file" in refused("orbit", tmp_path / "none.jpg", "--output", tmp_path / "out")


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["orbit", LONG + ".jpg", "--output", "out"],
        ["orbit", "picture.png", "--output", LONG],
        ["cameras", "show", LONG + ".json"],
        ["curate", LONG, "--output", "out"],
        ["evaluate", "captures", LONG, "--output", "out"],
        ["evaluate", "orbit", "--output", LONG],
        ["scenes", "--output", LONG],
        ["train", LONG + ".yaml"],
        ["plan", LONG + ".yaml"],
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long_for_the_file_system(
    refused: Refused, image: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before any work begins: outputs as well as inputs."""
    monkeypatch.chdir(image.parent)
    assert len(refused(*arguments)) < 900


def test_what_the_system_refuses_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/frame.png")

    monkeypatch.setattr("worldgen.cli._run", full)
    assert main(["orbit"]) == 2
    assert capsys.readouterr().err == "worldgen: /somewhere/frame.png: No space left on device\n"


def test_other_errors_of_the_system_are_faults_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr("worldgen.cli._run", broken)
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["orbit"])


@pytest.mark.parametrize("content", [b"", b"not an image but a text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image(refused: Refused, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "a.png" in refused("orbit", tmp_path / "a.png", "--output", tmp_path / "out")


def test_a_truncated_image(refused: Refused, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:600])
    assert "a.jpg" in refused("orbit", tmp_path / "a.jpg", "--output", tmp_path / "out")


@pytest.mark.parametrize("size", [(1, 1), (30_000, 16)])
def test_an_image_of_a_size_nobody_can_mean(refused: Refused, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")
    assert f"{size[0]}x{size[1]}" in refused("orbit", tmp_path / "a.png", "--output", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--frames", 0], "0 frames"),
        (["--frames", 1_000_000], "1000000 frames"),
        (["--steps", 0], "0 sampling steps"),
        (["--seed", -1], "seed -1"),
        (["--fov-deg", 180], "180"),
        (["--fov-deg", "nan"], "nan"),
        (["--radius", -1], "radius -1"),
        (["--elevation-deg", 90], "elevation 90"),
        (["--size-px", 30], "size of 30"),
        (["--guidance", "nan"], "guidance nan"),
        (["--model", "nobody"], "nobody"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_an_option_out_of_range(refused: Refused, tmp_path: Path, image: Path, options: list, said: str) -> None:
    assert said in refused("orbit", image, "--output", tmp_path / "out", *options)


def test_no_image_at_all(refused: Refused, tmp_path: Path) -> None:
    assert "no images" in refused("orbit", "--output", tmp_path / "out")


def test_several_images_without_cameras(refused: Refused, tmp_path: Path, image: Path) -> None:
    assert "without cameras" in refused("orbit", image, image, "--output", tmp_path / "out")


def test_an_output_folder_that_exists(refused: Refused, tmp_path: Path, image: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    assert "exists" in refused("orbit", image, "--output", tmp_path / "out")


def test_an_output_folder_that_cannot_be_made(refused: Refused, tmp_path: Path, image: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "folder" in refused("orbit", image, "--output", tmp_path / "file" / "out")


def test_an_output_folder_in_a_place_that_cannot_be_written(refused: Refused, image: Path) -> None:
    assert "/proc" in refused("orbit", image, "--output", "/proc/out", "--frames", 1, "--steps", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, math.nan), "frame 1"),
        (lambda d: d["frames"][1].update(transform_matrix=[[0.0] * 4] * 4), "frame 1"),
        (lambda d: d["frames"][1].update(file_path="gone.png"), "gone.png"),
        (lambda d: d["frames"][1].update(file_path="../picture.png"), "../picture.png"),
        (lambda d: d["frames"][1].update(file_path="0.png"), "0.png"),
        (lambda d: d["frames"].pop(0), "no frame of"),
        (lambda d: d.pop("frames"), "frames"),
        (lambda d: d.update(fl_x=-5.0), "-5"),
    ],
)
def test_cameras_that_make_no_sense(refused: Refused, capture: Path, change: Callable, said: str) -> None:
    file, output = edited(capture, change), capture.parent / "out"
    assert said in refused("orbit", capture.parent / "0.png", "--cameras", file, "--output", output)


def test_the_same_image_twice(refused: Refused, capture: Path) -> None:
    first = capture.parent / "0.png"
    assert "twice" in refused("orbit", first, first, "--cameras", capture, "--output", capture.parent / "out")


def test_views_that_are_no_cameras(refused: Refused, image: Path, tmp_path: Path) -> None:
    (tmp_path / "views.json").write_text("[]")
    assert "views.json" in refused("orbit", image, "--views", tmp_path / "views.json", "--output", tmp_path / "out")


@pytest.mark.parametrize("line", ["surprise: 1", "train: {stepz: 3}", "train: {steps: many}", "output: ["])
def test_a_training_configuration_with_a_mistake(refused: Refused, tmp_path: Path, line: str) -> None:
    (tmp_path / "run.yaml").write_text(f"model: {{name: a}}\noutput: {tmp_path}/run\n{line}\n")
    assert "run.yaml" in refused("train", tmp_path / "run.yaml")


def test_a_training_configuration_that_is_missing(refused: Refused, tmp_path: Path) -> None:
    assert "none.yaml" in refused("train", tmp_path / "none.yaml")


def test_an_evaluation_configuration_with_a_mistake(refused: Refused, tmp_path: Path, root: Path) -> None:
    text = (root / "configs" / "evaluate_orbit.yaml").read_text()
    (tmp_path / "set.yaml").write_text(text + "color: red\n")
    assert "color" in refused("evaluate", "orbit", "--config", tmp_path / "set.yaml", "--output", tmp_path / "out")


@pytest.mark.parametrize("what", ["orbit", "families"])
def test_models_that_cannot_be_told_apart_or_loaded(
    refused: Refused, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(root)
    assert "another name" in refused("evaluate", what, "--models", "tiny", "tiny", "--output", tmp_path / "out")
    assert "nobody" in refused("evaluate", what, "--models", "tiny", "nobody", "--output", tmp_path / "out")


@pytest.mark.parametrize("arguments", [[], ["dance"], ["orbit", "--frames", "x", "--output", "o"], ["orbit"]])
def test_a_command_line_that_cannot_be_read_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_command_itself_ends_with_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worldgen.cli", "orbit", "none.jpg", "--output", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "none.jpg" in ended.stderr
    assert list(tmp_path.iterdir()) == []
