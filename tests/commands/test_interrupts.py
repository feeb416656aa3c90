"""Ctrl-C at any moment: one line, exit code 130, nothing left behind."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from geometry.io.images import write_png
from tests.commands.sandbox import wait_until_it_has_begun
from worldgen.cli import main
from worldgen.pipelines import orbit as orbit_module


def interrupted(arguments: list[object], folder: Path, root: Path, after_s: float, kind: signal.Signals) -> int:
    """Interrupt a command some seconds after it has begun; returns its exit code, 0 where it was quicker."""
    command = [sys.executable, "-m", "worldgen.cli", *map(str, arguments)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until_it_has_begun(process)
        time.sleep(after_s)
        process.send_signal(kind)
        _, err = process.communicate(timeout=120)
    if process.returncode == 130:
        assert err == "worldgen: interrupted\n", (after_s, err)
        assert [path.name for path in folder.iterdir()] == ["a.png"], (after_s, list(folder.iterdir()))
    return process.returncode


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write_png(tmp_path / "a.png", torch.rand(3, 64, 64))
    return tmp_path / "a.png"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_libraries_are_loaded_ends_at_once(
    tmp_path: Path, root: Path, image: Path, kind: signal.Signals
) -> None:
    arguments = ["orbit", image, "--output", tmp_path / "deep" / "out"]
    assert interrupted(arguments, tmp_path, root, 0.5, kind) == 130


def test_an_interrupt_in_the_middle_of_the_work_leaves_nothing(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(*_: object, **__: object) -> None:
        assert len(list((tmp_path / "deep").iterdir())) == 2, "a claim and a temporary folder"
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(orbit_module, "fill", fill)
    before = signal.getsignal(signal.SIGINT)
    arguments = ["orbit", str(image), "--output", str(tmp_path / "deep" / "out"), "--frames", "2", "--steps", "1"]
    assert main(arguments) == 130
    assert capsys.readouterr().err.endswith("worldgen: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"] and signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("disguise", ["error", "callback"])
def test_an_interrupt_that_a_library_swallows_or_disguises_counts_all_the_same(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], disguise: str
) -> None:
    class Callback:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def fill(*_: object, **__: object) -> None:
        if disguise == "error":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise ImportError("a library") from error
        Callback()
        time.sleep(5)

    monkeypatch.setattr(orbit_module, "fill", fill)
    assert main(["orbit", str(image), "--output", str(tmp_path / "out"), "--frames", "2", "--steps", "1"]) == 130
    assert capsys.readouterr().err == "worldgen: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.slow
def test_interrupts_at_fifty_random_moments(tmp_path: Path, root: Path, image: Path) -> None:
    draw, codes = random.SystemRandom(), []
    for n in range(50):
        arguments = ["orbit", image, "--output", tmp_path / "out", "--frames", 24]
        kind = draw.choice([signal.SIGINT, signal.SIGTERM])
        codes.append(interrupted(arguments, tmp_path, root, draw.uniform(0, 6.0), kind))
        if codes[-1] == 0:
            (tmp_path / "out").rename(tmp_path.parent / f"{tmp_path.name}-{n}")
    print({code: codes.count(code) for code in set(codes)})
    assert set(codes) <= {0, 130} and codes.count(130) > 10
