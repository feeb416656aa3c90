"""The ablations: every arm is another model of the same run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks import ablations
from benchmarks.shared.report import Report
from tests.models.tiny import tiny_model
from tests.training.engine.test_budget import Clock
from worldgen.runtime.config import load, plain
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine import budget


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration of runs of a second: tabletops of 16 pixels, four frames at most."""
    model = replace(tiny_model(), frames=4)
    train = TrainConfig(steps=500, batch=2, frames=(2, 4), warmup=1, precision="fp32", device="cpu", log_every=1)
    config = RunConfig(tmp_path / "run", model, DataConfig(views=4, pool=2, reuse=2, supersample=1), train=train)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    return path


def run(monkeypatch, *options: str) -> int:
    """The command with options."""
    monkeypatch.setattr("sys.argv", ["ablations", *options])
    return ablations.main()


def test_every_arm_changes_one_thing_in_a_valid_run(file: Path) -> None:
    base, arms = plain(load(RunConfig, file)), ablations.arms(2)
    for arm, changes in arms.items():
        assert (plain(load(RunConfig, file, changes)) == base) == (arm == ablations.BASE), arm
    assert load(RunConfig, file, arms["geometry alignment"]).train.alignment_weight > 0
    attention = load(RunConfig, file, arms["no multi-view attention"])
    assert plain(attention)["model"]["network"]["attention"] == ["frame", "frame"]


def test_arms_are_trained_once_and_set_beside_the_base(file: Path, monkeypatch, capsys) -> None:
    output = file.parent / "out"
    options = ("--config", str(file), "--output", str(output), "--scenes", "3", "--steps", "3")
    assert run(monkeypatch, *options, "--arms", "no PRoPE") == 0 and not (output / "report.json").exists()
    assert run(monkeypatch, *options, "--arms", "base") == 0
    arms, lenses = Report.read(output / "report.json").tables
    assert [row[0] for row in arms.rows] == ["base", "no PRoPE"] and arms.columns[2] == "to the base dB"
    to_base = [row[2]["mean"] for row in arms.rows if isinstance(row[2], dict)]
    assert to_base[0] == 0 != to_base[1]
    assert [row[0] for row in lenses.rows] == list(ablations.FOVS_DEG)
    assert "| no PRoPE |" in capsys.readouterr().out
    model = output / "base" / "model" / "weights.safetensors"
    before = model.stat().st_mtime_ns
    assert run(monkeypatch, *options, "--arms", "base") == 0 and model.stat().st_mtime_ns == before


def test_arms_with_a_budget_of_seconds_are_as_long_as_it_allows(file: Path, monkeypatch) -> None:
    monkeypatch.setattr(budget, "time", Clock(1.0))  # a second a step
    output = file.parent / "out"
    options = ("--config", str(file), "--output", str(output), "--scenes", "2", "--budget-s", "30")
    assert run(monkeypatch, *options, "--arms", "base") == 0
    steps = [json.loads(line)["step"] for line in (output / "base" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 30
