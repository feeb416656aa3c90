"""Averages whose length is chosen afterwards: what they are, what is made of them; stopping changes nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from geometry.errors import InputError
from worldgen.cli import main
from worldgen.models.world_model import WorldModel
from worldgen.training.config.run import RunConfig
from worldgen.training.engine import checkpoint
from worldgen.training.engine.averages import Profiles, Snapshots, average, decay, exponent, snapshot_path
from worldgen.training.engine.run import Interrupts, run_to_end
from worldgen.training.engine.trainer import Trainer


def shares(length: float, steps: int) -> torch.Tensor:
    """How a power-function average of `steps` steps weighs each: the integrals of its profile over the steps."""
    edges = torch.arange(steps + 1, dtype=torch.float64) / steps
    return (edges ** (exponent(length) + 1)).diff()


def written(folder: Path, trajectory: torch.Tensor, lengths: tuple[float, ...], every: int) -> Snapshots:
    """What a run would store whose only tensor `a` goes through a trajectory [steps, n]."""
    kept = {length: torch.zeros(trajectory.shape[1]) for length in lengths}
    for step, weights in enumerate(trajectory, start=1):
        for length, value in kept.items():
            value.lerp_(weights, 1 - decay(length, step))
        if step % every == 0:
            header = {"step": step, "run": {"train": {"averages": list(lengths)}}}
            tensors = {f"{length}/a": value.half() for length, value in kept.items()}
            checkpoint.save(snapshot_path(folder, step), tensors, header)
    return Snapshots(folder)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_the_length_is_the_deviation_of_the_profile_and_the_decay_makes_that_profile(length: float) -> None:
    weights, middles = shares(length, 100_000), (torch.arange(100_000) + 0.5) / 100_000
    mean = (weights * middles).sum()
    assert float((weights * (middles - mean).square()).sum().sqrt()) == pytest.approx(length, rel=1e-3)
    value = torch.zeros(50, dtype=torch.float64)
    for step in range(1, 51):
        value.lerp_(torch.eye(50, dtype=torch.float64)[step - 1], 1 - decay(length, step))
    assert torch.allclose(value, shares(length, 50), atol=1e-12)


def test_products_of_profiles_are_their_integrals() -> None:
    profiles = Profiles.of([100, 100, 70, 3], [0.05, 0.2, 0.1, 0.28])
    s = (np.arange(1_000_000) + 0.5) / 10_000
    each = [(g + 1) * s**g / t ** (g + 1) * (s < t) for t, g in zip(profiles.steps, profiles.exponents)]
    wanted = [[float((p * q).sum() / 10_000) for q in each] for p in each]
    assert np.allclose(profiles.products(profiles), wanted, rtol=1e-4)


@pytest.mark.parametrize("length", [0.05, 0.07, 0.1, 0.14])
def test_an_average_of_a_length_that_was_not_kept_is_the_one_computed_directly(tmp_path: Path, length: float) -> None:
    steps, draw = 1000, torch.Generator().manual_seed(3)
    noise = torch.randn(steps, 300, generator=draw)
    trajectory = 1 + torch.linspace(0, 1, steps)[:, None].sqrt() + 0.3 * noise + 0.02 * noise.cumsum(0)
    snapshots = written(tmp_path, trajectory, (0.05, 0.1), every=50)
    direct = (shares(length, steps)[:, None] * trajectory.double()).sum(0).float()
    error = (snapshots.average(length)["a"] - direct).square().mean().sqrt()
    moved = (trajectory[-1] - direct).square().mean().sqrt()
    assert error < 2e-3 * moved
    # Of pure noise about a mean, the profile's error is the share of the average that is another.
    quiet = written(tmp_path / "quiet", noise, (0.05, 0.1), every=50)
    direct = (shares(length, steps)[:, None] * noise.double()).sum(0).float()
    share = (quiet.average(length)["a"] - direct).norm() / direct.norm()
    assert float(share) < 1.3 * quiet.combined(length)[1] + 5e-3  # rounding to 16 bits, and chance
    assert (length in (0.05, 0.1)) == (quiet.combined(length)[1] < 1e-6)


def test_weights_that_never_moved_come_back_as_they_are(tmp_path: Path) -> None:
    still = torch.tensor([-2.0, 0.5, 1024.0]).expand(60, 3)
    assert torch.allclose(written(tmp_path, still, (0.05, 0.1), 10).average(0.13)["a"], still[0], rtol=1e-6)


def test_a_length_out_of_reach_is_refused_with_what_is_in_reach(tmp_path: Path) -> None:
    snapshots = written(tmp_path, torch.randn(60, 2), (0.05, 0.1), 10)
    for length in (-1.0, 0.0, 0.005, 0.27, 0.3, float("nan")):
        with pytest.raises(InputError, match=r"expected 0\.0[34]\d to 0\.1\d\d") as caught:
            snapshots.average(length)
        assert "\n" not in str(caught.value)


def finished(config: RunConfig) -> Trainer:
    """The trainer of a run that came to its end."""
    config.output.mkdir(exist_ok=True)
    trainer = Trainer(config)
    with Interrupts() as interrupts:
        run_to_end(trainer, config.train, config.output, lambda model, path: None, interrupts)
    return trainer


@pytest.fixture
def averaged_run(run_of) -> Callable[..., RunConfig]:
    """A run of nine steps that stores two averages every three."""

    def make(name: str = "run", **train) -> RunConfig:
        return run_of(name, **{"steps": 9, "averages": (0.05, 0.1), "average_every": 3, "checkpoint_every": 4, **train})

    return make


def test_a_run_stores_the_averages_of_its_weights(averaged_run, tmp_path: Path) -> None:
    config = averaged_run()
    trainer = Trainer(config)
    weights = [{n: v.clone() for n, v in trainer.state().items()} for _ in trainer.steps()]
    kept, _ = checkpoint.load(finished(config).checkpoint_path)
    for length in (0.05, 0.1):
        for name in weights[0]:
            each = torch.stack([w[name].double() for w in weights])
            wanted = torch.tensordot(shares(length, 9), each, 1).float()
            assert torch.allclose(kept[f"average {length}.{name}"], wanted, atol=1e-6), name
    stored, header = checkpoint.load(snapshot_path(config.output, 9))
    assert header["step"] == 9 and all(value.dtype == torch.float16 for value in stored.values())
    assert all(torch.equal(v, kept["average " + n.replace("/", ".", 1)].half()) for n, v in stored.items())
    assert [path.stem for path in sorted((config.output / "averages").iterdir())] == ["0000003", "0000006", "0000009"]


def test_a_killed_run_stores_in_the_end_what_one_that_was_not_does(averaged_run) -> None:
    whole, parts = averaged_run("whole"), averaged_run("parts")
    finished(whole)
    trainer = Trainer(parts)  # continues to step 7 and is lost, with a checkpoint of step 4 and averages of step 6
    for record in trainer.steps():
        if record["step"] == 4:
            trainer.save()
        if record["step"] in (3, 6):
            trainer.snapshot()
        if record["step"] == 7:
            break
    again = Trainer(parts)
    assert again.step == 4 and snapshot_path(parts.output, 6).exists()
    next(again.steps())
    assert not snapshot_path(parts.output, 6).exists() and snapshot_path(parts.output, 3).exists()
    finished(parts)
    for name in ("checkpoint.safetensors", *(f"averages/{step:07d}.safetensors" for step in (3, 6, 9))):
        a, b = (checkpoint.load(config.output / name)[0] for config in (whole, parts))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name


def test_averages_that_are_due_at_the_step_of_the_checkpoint_and_not_there_are_made_up_for(averaged_run) -> None:
    config = averaged_run()
    finished(config)
    path = snapshot_path(config.output, 9)
    before = {key: value.clone() for key, value in checkpoint.load(path)[0].items()}
    path.unlink()
    finished(config)
    after = checkpoint.load(path)[0]
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_averages_and_sheet_of_a_step_are_written_before_its_checkpoint(averaged_run, monkeypatch) -> None:
    config, written = averaged_run(average_every=2, checkpoint_every=2), []
    put = checkpoint.put
    monkeypatch.setattr(checkpoint, "put", lambda t, mode, path: (written.append(path.stem), put(t, mode, path)))
    config.output.mkdir()
    trainer = Trainer(config)
    with Interrupts() as interrupts:
        run_to_end(
            trainer, config.train, config.output, lambda _, path: written.append(f"sheet {path.stem}"), interrupts
        )
    steps = [name for step in (2, 4, 6, 8) for name in (f"{step:07d}", "checkpoint")]
    assert written == [*steps, "0000009", "sheet 0000009", "checkpoint"]


def test_the_command_makes_a_model_of_a_length_or_reports_why_not(averaged_run, tmp_path: Path, capsys) -> None:
    config = averaged_run()
    finished(config)
    command = ["average", str(config.output), "--length", "0.07", "--output", str(tmp_path / "model")]
    assert main(command) == 0 and "3 snapshots" in capsys.readouterr().out
    model = WorldModel.load(tmp_path / "model")
    assert model.config == config.model
    wanted = Snapshots(config.output).average(0.07)
    for name, value in model.state().items():
        assert (value - wanted[name]).abs().max() <= wanted[name].abs().max() / 254 + 1e-6, name  # int8
    assert main(command) == 2, "the folder exists"
    assert main([*command, "--output", str(tmp_path / "other"), "--length", "0.001"]) == 2
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match=r"no averages; expected the output folder of a run with train\.averages"):
        average(tmp_path, 0.1, tmp_path / "other")


def test_runs_without_averages_are_what_they_were_and_others_know_their_lengths(run_of, averaged_run) -> None:
    plain_run = run_of("plain", steps=1)
    finished(plain_run)
    assert not (plain_run.output / "averages").exists()
    assert not any(
        name.startswith("average") for name in checkpoint.load(plain_run.output / "checkpoint.safetensors")[0]
    )
    finished(averaged_run(steps=1))
    assert Trainer(averaged_run(average_every=5)).step == 1
    with pytest.raises(InputError, match="another configuration"):
        Trainer(averaged_run(averages=(0.05, 0.2)))
    for wrong in ((0.1, 0.1), (0.0,), (0.29,)):
        with pytest.raises(InputError, match=r"train\.averages"):
            averaged_run(averages=wrong)
