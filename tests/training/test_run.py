"""`worldgen train`, as a user runs it."""

import json
import signal
from pathlib import Path

import pytest
import yaml

from worldgen.cli import main
from worldgen.config import plain
from worldgen.model import WorldModel
from worldgen.training.checkpoint import Checkpoint
from worldgen.training.run import Log


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
