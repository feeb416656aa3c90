"""Commands that are killed lose nothing that they promised, and leave nothing after their next start."""

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from geometry.camera.cameras import Cameras
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from tests.commands.kills import command, debris, killed
from tests.models.tiny import tiny_model
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import plain
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.checkpoint import Checkpoint

NEVER = 10**6
SECONDS = {"timings.json"}  # the only files that are not the same each time


@dataclass(frozen=True)
class Killed:
    """A command that is killed.

    work   runs it into a folder
    check  what must hold of that folder after a kill
    again  the exit codes of its next start, given whether the folder is there
    over   whether it replaces another result
    """

    work: Callable[..., Callable[[], None]]
    check: Callable[[Path], None]
    again: Callable[[bool], int] = lambda there: 0
    over: bool = False

    def resume(self, out: Path) -> Callable[[], None]:
        """The next start."""
        return self.work(out, code=self.again(out.exists()))


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of all files of a folder that are the same each time."""
    kept = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in SECONDS)
    return {str(path.relative_to(folder)): _bytes(path) for path in kept if "tensorboard" not in path.parts}


def _bytes(path: Path) -> bytes:
    if path.name == "log.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return repr([{k: v for k, v in line.items() if k != "seconds"} for line in lines]).encode()
    if path.name == "config.yaml" or path.name == "curation.json":
        return b""  # name the output
    if path.suffix == ".safetensors" and path.parent.name == "averages":
        return b"".join(v.numpy().tobytes() for _, v in sorted(Checkpoint(path).items()))
    return path.read_bytes()


def whole_or_absent(folder: Path) -> None:
    """A folder that appears at once is there with all its files, or not at all."""
    if folder.exists():
        listed = json.loads((folder / "manifest.json").read_text())["files"]
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(listed)


def promised(folder: Path) -> None:
    """What a training run's checkpoint promises is there: averages, log and sheet of its step and those before."""
    if not (folder / "checkpoint.safetensors").exists():
        return
    step = Checkpoint(folder / "checkpoint.safetensors").header["step"]
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines][:step] == list(range(1, step + 1))
    for n in range(2, step + 1, 2):
        assert Checkpoint(folder / "averages" / f"{n:07d}.safetensors").header["step"] == n
    assert step < 5 or (folder / "sheets" / "0000005.png").stat().st_size > 100


def shards_agree(folder: Path) -> None:
    """Each record of a curation is one of a whole shard."""
    for record in folder.glob("clips-*.json"):
        clips = [clip for capture in json.loads(record.read_text()) for clip in capture["clips"]]
        assert record.with_suffix(".tar").is_file() == bool(clips)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a capture and a run, all very small."""
    folder = tmp_path_factory.mktemp("inputs")
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 4), 50.0, (16, 16))
    names = [f"{i}.png" for i in range(4)]
    for capture in ("one", "two"):
        for name in names:
            write_png(folder / "captures" / capture / name, torch.rand(3, 16, 16))
        write_transforms(folder / "captures" / capture / "transforms.json", cameras, names)
    WorldModel.create(replace(tiny_model(), frames=4)).save(folder / "model")
    train = TrainConfig(
        steps=5, batch=1, frames=(2,), warmup=1, precision="fp32", device="cpu", checkpoint_every=1, log_every=1,
        sheet_every=5, averages=(0.05, 0.1), average_every=2,
    )  # fmt: skip
    data = DataConfig(views=2, pool=1, reuse=2, supersample=1)
    run = RunConfig(folder / "unused", tiny_model(), data, train=train)
    (folder / "run.yaml").write_text(yaml.safe_dump(plain(run), sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def commands(inputs: Path) -> dict[str, Killed]:
    """The commands by name."""
    image = inputs / "captures" / "one" / "0.png"

    def orbits(out: Path, code: int = 0) -> Callable[[], None]:
        line = ("orbit", image, "--frames", 2, "--steps", 1, "--model", inputs / "model", "--output", out)
        return command(*line, code=code)

    def orbits_over(out: Path, code: int = 0) -> Callable[[], None]:
        line = ("orbit", image, "--frames", 2, "--steps", 1, "--model", inputs / "model", "--output", out)
        return command(*line, "--overwrite", code=code)

    def evaluates(out: Path, code: int = 0) -> Callable[[], None]:
        line = ("evaluate", "captures", inputs / "captures" / "one", "--given", 1, "--model", inputs / "model")
        return command(*line, "--output", out, code=code)

    def curates(out: Path, code: int = 0) -> Callable[[], None]:
        line = ("curate", inputs / "captures", "--frames", 2, "--size-px", 8, "--captures-per-shard", 1)
        return command(*line, "--output", out, code=code)

    def trains(out: Path, code: int = 0) -> Callable[[], None]:
        return command("train", inputs / "run.yaml", f"output={out}", code=code)

    def refused_if(there: bool) -> int:
        return 2 if there else 0

    return {
        "orbit": Killed(orbits, whole_or_absent, refused_if),
        "orbit over another": Killed(orbits_over, whole_or_absent, over=True),
        "evaluate": Killed(evaluates, whole_or_absent, refused_if),
        "curate": Killed(curates, shards_agree),
        "train": Killed(trains, promised),
    }


def survived(each: Killed, parent: Path, whole: Path, moments: list[dict[str, Any]]) -> tuple[int, int]:
    """Kill a command once at each moment, and start it again.

    After the kill what it promised is there; after the next start the result is the one of a run that was not killed,
    byte by byte, and nothing else is there. Returns how many were killed, and how many had come to their end.
    """
    out, wanted, kills = parent / "out", files(whole), 0
    for moment in moments:
        if each.over:
            shutil.copytree(whole, out)
        kills += killed(each.work(out), parent, **moment)
        each.check(out)
        assert not killed(each.resume(out), parent, before_write=NEVER), moment
        assert files(out) == wanted and debris(parent) == [] and [p.name for p in parent.iterdir()] == ["out"], moment
        shutil.rmtree(out)
    return kills, len(moments) - kills


def writes_of(each: Killed, parent: Path, whole: Path) -> int:
    """How many writes a command does."""
    if each.over:
        shutil.copytree(whole, parent / "out")
    count = Path(parent.parent / f"{parent.name}-count")
    assert not killed(each.work(parent / "out"), parent, before_write=NEVER, count=count)
    shutil.rmtree(parent / "out")
    return int(count.read_text())


def whole_of(each: Killed, folder: Path) -> Path:
    """The output of a command that is not killed; made in this process, which then has the libraries loaded."""
    each.resume(folder / "whole")()
    return folder / "whole"


@pytest.mark.parametrize(("name", "count"), [("train", 5), ("orbit", 3), ("orbit over another", 3)])
def test_killed_before_some_of_its_writes_a_command_loses_nothing(
    commands: dict[str, Killed], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str, count: int
) -> None:
    whole = whole_of(commands[name], tmp_path_factory.mktemp("whole"))
    writes = writes_of(commands[name], tmp_path, whole)
    moments = [{"before_write": writes - 1 - n * writes // count - n % 2} for n in range(count)]
    assert survived(commands[name], tmp_path, whole, moments) == (count, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "orbit", "orbit over another", "evaluate", "curate"])
def test_killed_before_any_of_its_writes_a_command_loses_nothing(
    commands: dict[str, Killed], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    whole = whole_of(commands[name], tmp_path_factory.mktemp("whole"))
    writes = writes_of(commands[name], tmp_path, whole)
    moments = [{"before_write": n} for n in range(writes)]
    assert survived(commands[name], tmp_path, whole, moments) == (writes, 0)
    print(f"{name}: killed before each of {writes} writes")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "orbit", "orbit over another", "evaluate", "curate"])
def test_killed_at_fifty_random_moments_a_command_loses_nothing(
    commands: dict[str, Killed], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    whole = whole_of(commands[name], tmp_path_factory.mktemp("whole"))
    began = time.monotonic()
    writes_of(commands[name], tmp_path, whole)
    took, draw = time.monotonic() - began, random.SystemRandom()
    moments = [{"after_s": draw.uniform(0, took)} for _ in range(50)]
    kills, ended = survived(commands[name], tmp_path, whole, moments)
    print(f"{name}: {kills} of 50 killed within {took:.2f} s, {ended} had ended")
    assert kills >= 25
