"""`worldgen train`, as a user runs it."""

import errno
import json
import signal
from pathlib import Path

import pytest
import torch
import yaml

from worldgen.cli import main
from worldgen.data import Sample, write_shard
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import load, plain
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.config.run import RunConfig
from worldgen.training.engine import run
from worldgen.training.engine.checkpoint import Checkpoint
from worldgen.training.engine.run import Log


@pytest.fixture
def file(run_of, tmp_path: Path) -> Path:
    """The configuration of a run of three steps."""
    config = run_of(steps=3, checkpoint_every=1, sheet_every=3, log_every=1)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    return path


def test_a_run_leaves_a_model_a_log_a_sheet_and_a_checkpoint(file: Path) -> None:
    assert main(["train", str(file)]) == 0
    run = file.parent / "run"
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert (run / "sheets" / "0000003.png").stat().st_size > 1000
    assert (run / "checkpoint.safetensors").exists() and list((run / "tensorboard").iterdir())
    assert WorldModel.load(run / "model").config.size_px == 16


def test_the_run_s_folder_holds_its_configuration_in_full(file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.yaml"
    short.write_text("base: run.yaml\ntrain: {warmup: 1}\n")
    config = load(RunConfig, short, ("data.reuse=3",))
    assert main(["train", str(short), "data.reuse=3"]) == 0
    written = config.output / "config.yaml"
    assert load(RunConfig, written) == config and set(yaml.safe_load(written.read_text())) == set(plain(config))
    before = written.stat().st_mtime_ns
    assert main(["train", str(short), "data.reuse=3"]) == 0 and written.stat().st_mtime_ns == before
    assert main(["train", str(short)]) == 2, "of another run"
    assert load(RunConfig, written) == config
    assert main(["train", str(written), "train.steps=4"]) == 0
    assert load(RunConfig, written).train.steps == 4 and len(list(config.output.glob("config*"))) == 1


def test_a_longer_run_continues_the_log_where_it_was(file: Path) -> None:
    log = file.parent / "run" / "log.jsonl"
    assert main(["train", str(file)]) == 0
    before = log.read_text()
    log.write_text(before + '{"step": 4, "loss"')  # a line a crash cut short
    assert main(["train", str(file), "train.steps=5"]) == 0
    assert log.read_text().startswith(before)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_granted_after_the_step_with_a_checkpoint(
    file: Path, kind: signal.Signals, monkeypatch
) -> None:
    write = Log.write

    def interrupted(log: Log, record: dict) -> None:
        write(log, record)
        if record["step"] == 2:
            signal.raise_signal(kind)

    before = signal.getsignal(kind)
    monkeypatch.setattr(Log, "write", interrupted)
    assert main(["train", str(file), "train.checkpoint_every=100"]) == 130
    assert signal.getsignal(kind) is before
    assert Checkpoint(file.parent / "run" / "checkpoint.safetensors").header["step"] == 2
    monkeypatch.undo()
    assert main(["train", str(file)]) == 0
    lines = (file.parent / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_a_finished_run_that_is_started_again_changes_nothing(file: Path) -> None:
    assert main(["train", str(file)]) == 0
    weights = file.parent / "run" / "model" / "weights.safetensors"
    before = weights.read_bytes()
    assert main(["train", str(file)]) == 0
    assert weights.read_bytes() == before


@pytest.mark.parametrize("what", ["log", "sheet", "model"])
def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_from_its_checkpoint(
    file: Path, what: str, monkeypatch, capsys
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if what == "log":
            write = Log.write
            patch.setattr(Log, "write", lambda log, record: write(log, record) if record["step"] < 2 else full())
        elif what == "sheet":
            patch.setattr(run, "write_sheet", full)
        else:
            patch.setattr(WorldModel, "save", full)
        assert main(["train", str(file)]) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message and message.count("\n") == 1
    folder = file.parent / "run"
    kept = Checkpoint(folder / "checkpoint.safetensors").header["step"]
    assert kept == {"log": 1, "sheet": 3, "model": 3}[what] and not (folder / "model").exists()
    assert main(["train", str(file)]) == 0
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_a_shard_that_goes_away_stops_the_run_and_keeps_its_checkpoint(file: Path, run_of, monkeypatch, capsys) -> None:
    shards = file.parent / "shards"
    clip = SceneStream(run_of(seed=9), torch.device("cpu")).footage(0).clip[0]
    write_shard(shards / "000000.tar", [Sample("one", clip, "", "test", ("a", "b", "c"))])
    write, options = Log.write, [f"data.shards={shards}", "data.shards_share=1.0"]

    def unplugged(log: Log, record: dict) -> None:
        write(log, record)
        if record["step"] == 2:
            (shards / "000000.tar").rename(shards / "away")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "write", unplugged)
        assert main(["train", str(file), *options]) == 2
    message = capsys.readouterr().err
    assert "000000.tar" in message and message.count("\n") == 1
    assert Checkpoint(file.parent / "run" / "checkpoint.safetensors").header["step"] == 2
    (shards / "away").rename(shards / "000000.tar")
    assert main(["train", str(file), *options]) == 0
    assert main(["train", str(file), f"data.shards={file.parent / 'none'}", f"output={file.parent / 'other'}"]) == 2
