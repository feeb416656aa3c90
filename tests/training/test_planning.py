"""A plan states what a run takes, before it takes it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from geometry.errors import InputError
from tests.models.tiny import tiny_model
from worldgen.cli import main
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import load, plain
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.planning import describe, plan

# Measured in a process whose allocator gives freed memory back at once (glibc keeps pieces: up to 40% more).
MEASURED = """
import sys
from pathlib import Path
import torch
import yaml
from worldgen.runtime.config import load
from worldgen.models.world_model import WorldModel
from worldgen.training.config.run import RunConfig
from worldgen.training.planning import example_inputs, plan

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

torch.set_num_threads(1)
config = load(RunConfig, Path(sys.argv[1]), tuple(sys.argv[2:]))
planned = plan(config)
model = WorldModel.create(config.model, checkpointing=config.train.checkpointing).training(True)
stage = config.stages[-1]
x, level, conditioning = example_inputs(config.model, stage.batch, max(stage.frames), stage.size_px)
small = example_inputs(config.model, 1, 1, stage.size_px)
model.denoiser()(*small).square().mean().backward()  # libraries take their own memory at first use
model.network.zero_grad()
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
(model.denoiser()(x, level, conditioning) - x).square().mean().backward()
gradients = sum(p.numel() * 4 for _, p in model.parameters())
print((status("VmHWM") - before) / (planned.working_bytes + gradients))
"""


def run_of(**train) -> RunConfig:
    return RunConfig(
        Path("unused"), tiny_model(), DataConfig(views=3), train=TrainConfig(**{"frames": (2, 3), **train})
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("options", [(), pytest.param(("train.checkpointing=true",), marks=pytest.mark.slow)])
def test_the_planned_memory_of_a_step_is_what_it_takes_within_15_percent(root: Path, options: tuple[str, ...]) -> None:
    command = [
        sys.executable,
        "-c",
        MEASURED,
        "configs/tiny.yaml",
        "train.precision=fp32",
        "train.frames=[8]",
        *options,
    ]
    run = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True,
        env={"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert 0.85 < float(run.stdout) < 1.15, run.stdout


def test_parameters_and_flops_are_counted() -> None:
    config = run_of(batch=2, optimizer="adamw")
    found = plan(config)
    numbers = sum(p.numel() for p in WorldModel.create(config.model).network.parameters())
    assert found.parameters == numbers
    assert found.state_bytes == 4 * 5 * numbers, "weights, average, gradients and two moments"
    # A linear layer takes two operations a weight and token forward, and twice that backward.
    linear = sum(p.numel() for n, p in WorldModel.create(config.model).network.named_parameters() if p.ndim == 2)
    assert 0.8 < found.step_flops / (6 * linear * 2 * 3 * 16) < 2
    assert plan(run_of(batch=4)).step_flops == pytest.approx(2 * found.step_flops, rel=1e-3)


@pytest.mark.slow
def test_recomputing_blocks_takes_less_memory_and_more_work() -> None:
    deep = run_of(batch=8)
    deep = replace(deep, model=replace(deep.model, network=replace(deep.model.network, attention=("full",) * 8)))
    plain, saving = plan(deep), plan(replace(deep, train=replace(deep.train, checkpointing=True)))
    assert saving.working_bytes < 0.6 * plain.working_bytes
    assert 1.2 < saving.step_flops / plain.step_flops < 1.4


@pytest.mark.slow
def test_a_plan_allocates_nothing_even_for_a_model_larger_than_this_machine() -> None:
    network = replace(tiny_model().network, width=16384, heads=128, mlp_width=65536, attention=("full",) * 40)
    config = replace(run_of(), model=replace(tiny_model(), network=network))
    found = plan(config)
    assert found.parameters > 1e11 and found.peak_bytes > 1e12
    with pytest.raises(InputError, match="abacus"):
        describe(run_of(), "abacus")


def test_the_command_prints_parameters_memory_work_and_time(root: Path, capsys) -> None:
    assert main(["plan", str(root / "configs" / "tiny.yaml"), "train.batch=2"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("4.81 million", "training memory", "GFLOP", "h in all"))
    config = load(RunConfig, root / "configs" / "tiny.yaml", ("train.batch=2",))
    assert yaml.safe_load(out.split("\n\n", 1)[1]) == plain(config)
    assert torch.get_num_threads() > 0


def test_the_plan_of_a_time_budget_states_how_many_steps_it_is_at_most(root: Path, capsys) -> None:
    config = str(root / "configs" / "tiny.yaml")
    assert main(["plan", config, "train.budget_s=30"]) == 0
    printed = capsys.readouterr().out
    steps = int(printed.split("at most ")[2].split()[0])
    assert "of at most 8500" in printed and "steps in the 30 s of train.budget_s" in printed and 10 < steps < 8500
    assert main(["plan", str(root / "configs" / "student.yaml")]) == 2
    assert "students are not planned yet" in capsys.readouterr().err
