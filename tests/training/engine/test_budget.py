"""Runs with a budget of seconds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from worldgen.training.config.train import TrainingStage
from worldgen.training.engine import budget
from worldgen.training.engine.run import Interrupts, run_to_end
from worldgen.training.engine.trainer import Trainer


class Clock:
    """A clock that a test moves: each look at it is `tick` seconds later."""

    def __init__(self, tick: float):
        self.now, self.tick = 0.0, tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """One look a step: `Budget` counts a second for each."""
    clock = Clock(1.0)
    monkeypatch.setattr(budget, "time", clock)
    return clock


def test_the_rate_after_the_warm_up_fixes_the_length_which_then_stays(run_of, clock: Clock) -> None:
    trainer = Trainer(run_of(steps=1000, budget_s=40.0, cooldown=0.5))
    rates = []
    for record in trainer.steps():
        clock.tick = 0.5 if record["step"] >= 12 else 1.0  # faster half way through what is timed
        rates.append(record["rate"])
    # 2 steps of warm-up and 10 take 12 s, 10 more 5 s: 0.75 s a step; 23 s are left for 30.
    assert len(rates) == trainer.total == 52 and rates[-1] == pytest.approx(1 / 26) and rates[25] == 1.0


def test_a_run_that_goes_on_ends_at_the_same_step_with_the_same_weights(run_of, clock: Clock) -> None:
    whole = Trainer(run_of("whole", steps=1000, budget_s=60.0))
    list(whole.steps())
    config = run_of("parts", steps=1000, budget_s=60.0)
    for stop in (5, 27):  # before the timed steps, and after them
        trainer = Trainer(config)
        for record in trainer.steps():
            if record["step"] == stop:
                trainer.save()
                break
    clock.tick = 100.0  # a machine that became slow does not change a length that is fixed
    last = Trainer(config)
    list(last.steps())
    assert last.step == whole.step == 60
    assert all(torch.equal(value, whole.state()[name]) for name, value in last.state().items())


def test_time_spent_before_a_stop_counts(run_of, clock: Clock) -> None:
    config = run_of(steps=1000, budget_s=60.0)
    trainer = Trainer(config)
    clock.tick = 10.0
    for record in trainer.steps():
        if record["step"] == 3:
            trainer.save()
            break
    clock.tick = 1.0
    again = Trainer(config)
    list(again.steps())
    assert again.step == 33  # 30 s are spent at step 3, a second each for the rest


@pytest.mark.parametrize("steps", [8, 22, 25])  # before, when and after the length is known
def test_the_configured_steps_are_the_most(run_of, clock: Clock, steps: int) -> None:
    trainer = Trainer(run_of(steps=steps, budget_s=1e6))
    assert [record["step"] for record in trainer.steps()][-1] == trainer.total == steps


def test_the_last_stage_is_what_is_timed(run_of, clock: Clock) -> None:
    trainer = Trainer(run_of(steps=1000, budget_s=130.0, curriculum=(TrainingStage(30, 16, 2, (2,)),)))
    for record in trainer.steps():
        clock.tick = 1.0 if record["step"] < 30 else 4.0
    # 30 s, then 20 steps of 4 s; the 20 s that are left are 5 more.
    assert trainer.step == trainer.total == 55


@pytest.mark.parametrize("seconds", [0.01, 15.0, 22.5])
def test_a_budget_that_is_spent_before_the_length_is_known_is_an_error(run_of, clock: Clock, seconds: float) -> None:
    trainer = Trainer(run_of(steps=1000, budget_s=seconds))
    with pytest.raises(InputError, match=rf"budget_s {seconds:g} is spent at step .* known after 22; expected more"):
        list(trainer.steps())
    assert trainer.step == max(1, min(int(seconds) + 1, 22))


def test_another_budget_or_fewer_steps_are_followed_on_going_on(run_of, clock: Clock) -> None:
    config = run_of(steps=1000, budget_s=40.0)
    trainer = Trainer(config)
    next(record for record in trainer.steps() if record["step"] == 25)
    trainer.save()
    fewer = replace(config, train=replace(config.train, steps=30))
    more = replace(config, train=replace(config.train, budget_s=70.0))
    assert Trainer(fewer).total == 30
    again = Trainer(more)
    list(again.steps())
    assert again.step == 70


def test_the_length_is_on_disk_as_soon_as_it_is_known(run_of, clock: Clock) -> None:
    trainer = Trainer(run_of(steps=1000, budget_s=40.0, checkpoint_every=1000))
    next(record for record in trainer.steps() if record["step"] == 23)  # and then it is killed
    again = Trainer(trainer.config)
    assert again.step == 22 and again.total == trainer.total == 40


def test_a_run_prints_its_length_and_ends_with_its_last_sheet_and_log(run_of, clock: Clock, capsys) -> None:
    config = run_of(steps=1000, budget_s=30.0, log_every=7, sheet_every=1000, checkpoint_every=1000)
    sheets: list[Path] = []
    config.output.mkdir()
    with Interrupts() as interrupts:
        run_to_end(Trainer(config), config.train, config.output, lambda _, path: sheets.append(path), interrupts)
    assert "30 s are 30 steps" in capsys.readouterr().out
    assert [path.name for path in sheets] == ["0000030.png"]
    lines = (config.output / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [7, 14, 21, 28, 30]
