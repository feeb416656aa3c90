"""Several processes train as one does: the same batches, losses and checkpoints, whatever their number.

Two processes of gloo on the CPU, under torchrun; a model that has every part.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from geometry.errors import InputError
from tests.models.tiny import tiny_model
from tests.training.engine.test_trainer import whole_model
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import plain
from worldgen.training.batches.batch import Batches
from worldgen.training.config.data import DataConfig
from worldgen.training.config.objectives import RewardConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine import checkpoint
from worldgen.training.engine.averages import Snapshots
from worldgen.training.engine.distributed import Ranks, joined
from worldgen.training.engine.trainer import Trainer

STEPS, SPLIT, LATE = 24, 20, 18
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
Made = Callable[..., RunConfig]
Records = dict[int, tuple[float, float]]  # loss and gradient norm by step


@pytest.fixture(scope="module")
def run_in(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """`run_in("name", parallel="ddp", ...)`: a run of the module's folder, of a model that has every part."""
    folder = tmp_path_factory.mktemp("runs")

    def make(name: str, **train) -> RunConfig:
        data = DataConfig(views=4, pool=2, reuse=2, supersample=1)
        options = {"steps": STEPS, "batch": 2, "frames": (2, 4), "warmup": 2, "precision": "fp32", "device": "cpu"}
        # Off after step 19: on where others take over (18), and not to the end of what two processes do (20).
        options |= {"alignment_weight": 2.0, "alignment_until": 0.78}
        model = replace(tiny_model(), frames=4)
        return whole_model(RunConfig(folder / name, model, data, TaskConfig(), TrainConfig(**{**options, **train})))

    return make


def written(config: RunConfig) -> Path:
    """The run's file, beside its folder."""
    file = config.output.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    return file


def torchrun(root: Path, *arguments: str) -> str:
    """What two processes print."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *TORCHRUN, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def left_by(config: RunConfig) -> Records:
    """What two processes have left of theirs."""
    records = json.loads((config.output / "records.json").read_text())
    return {int(step): tuple(numbers) for step, numbers in records.items()}


def steps_of(trainer: Trainer) -> Records:
    """Train to the end."""
    return {record["step"]: (record["loss"], record["gradient_norm"]) for record in trainer.steps()}


def assert_close(some: Records, all_of_them: Records, first: int, last: int) -> None:
    """Losses of steps first..last within 1e-4, and gradient norms, which tell a gradient from its double, in 1e-3."""
    assert list(some) == list(range(first, last + 1))
    assert max(abs(loss - all_of_them[step][0]) for step, (loss, _) in some.items()) < 1e-4
    assert max(abs(norm / all_of_them[step][1] - 1) for step, (_, norm) in some.items()) < 1e-3


@pytest.fixture(scope="module")
def one(run_in: Made) -> tuple[Trainer, Records]:
    """One process: its trainer, whose checkpoint is of step 18, and the records of all 24 steps."""
    trainer, found = Trainer(run_in("one")), {}
    for record in trainer.steps():
        found[record["step"]] = (record["loss"], record["gradient_norm"])
        if record["step"] == LATE:
            trainer.save()
    assert min(loss for loss, _ in found.values()) < 0.8 * found[1][0], "nothing was learned"
    return trainer, found


@pytest.fixture(scope="module")
def two(run_in: Made, one: tuple[Trainer, Records], root: Path) -> dict[str, RunConfig]:
    """Runs of two processes: DDP and FSDP to step 20, shared frames to 8, one process's run taken over at 18."""
    runs = {
        "ddp": (run_in("ddp", parallel="ddp", averages=(0.1, 0.2)), SPLIT),
        "fsdp": (run_in("fsdp", parallel="fsdp", checkpointing=True, averages=(0.1, 0.2)), SPLIT),
        "context": (run_in("context", parallel="ddp", context_parallel=2), 8),
        "onward": (run_in("onward", parallel="fsdp"), STEPS),
        "poisoned": (run_in("poisoned", parallel="ddp"), 6),
    }
    start = runs["onward"][0].output
    start.mkdir()
    (start / "checkpoint.safetensors").write_bytes(one[0].checkpoint_path.read_bytes())
    torchrun(
        root, "tests/training/engine/several.py", *(f"{written(config)}:{until}" for config, until in runs.values())
    )
    return {name: config for name, (config, _) in runs.items()}


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_of_one(kind: str, one, two) -> None:
    assert_close(left_by(two[kind]), one[1], 1, SPLIT)


def test_two_processes_that_share_the_frames_of_each_clip_have_the_losses_of_one(one, two) -> None:
    assert_close(left_by(two["context"]), one[1], 1, 8)


def test_two_processes_go_on_from_the_checkpoint_of_one(one, two) -> None:
    assert_close(left_by(two["onward"]), one[1], LATE + 1, STEPS)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_one_process_goes_on_from_the_checkpoint_of_two(kind: str, one, two) -> None:
    names = {path.name for path in two[kind].output.glob("*.safetensors")}
    assert names == {"checkpoint.safetensors"} | (
        {"checkpoint.0000020.1-of-2.safetensors"} if kind == "fsdp" else set()
    )
    trainer = Trainer(two[kind])
    assert trainer.step == SPLIT
    assert_close(steps_of(trainer), one[1], SPLIT + 1, STEPS)
    trainer.save()
    assert {path.name for path in two[kind].output.glob("*.safetensors*")} == {"checkpoint.safetensors"}


def test_the_shards_of_two_processes_are_the_whole_of_one(one, two) -> None:
    trainer, folder = one[0], two["onward"].output
    for name, value in WorldModel.load(folder / "model").state().items():
        assert torch.allclose(value, trainer.ema[name], atol=1e-4), name
    tensors, header = checkpoint.load(folder / "checkpoint.safetensors")
    assert header["step"] == STEPS
    for name, value in trainer.model.state().items():
        assert torch.allclose(tensors[f"model.{name}"], value, atol=1e-3), name
    sizes = [path.stat().st_size for path in folder.glob("checkpoint*.safetensors")]
    assert len(sizes) == 2 and max(sizes) < 1.2 * min(sizes)


def test_averages_in_shards_are_those_of_whole_weights(two) -> None:
    whole, shards = (Snapshots(two[kind].output) for kind in ("ddp", "fsdp"))
    assert {path.name for path in (two["fsdp"].output / "averages").iterdir()} == {
        f"{SPLIT:07d}.safetensors",
        f"{SPLIT:07d}.{SPLIT:07d}.1-of-2.safetensors",
    }
    wanted = whole.average(0.1)
    for name, value in shards.average(0.1).items():
        assert torch.allclose(value, wanted[name], atol=1e-3), name


def test_a_loss_that_is_nan_or_inf_on_one_rank_stops_all_and_reports_where(two) -> None:
    for rank in (0, 1):
        message = (two["poisoned"].output / f"error-{rank}.txt").read_text()
        assert "the loss is nan at step 2 on rank 1" in message and "\n" not in message
    assert not (two["poisoned"].output / "checkpoint.safetensors").exists()


def test_the_batches_of_the_ranks_are_slices_of_the_whole_one(run_in: Made) -> None:
    config, device = run_in("slices", batch=4), torch.device("cpu")
    for step in (0, 5):
        whole = Batches(config, device).at(step)
        for rank in (0, 1):
            own, rows = Batches(config, device, rank, 2).at(step), slice(2 * rank, 2 * rank + 2)
            assert own.captions == whole.captions[rows]
            assert torch.equal(own.noise, whole.noise[rows]) and torch.equal(own.scale_jitter, whole.scale_jitter[rows])
            for name, value in vars(own.tasks).items():
                assert torch.equal(value, getattr(whole.tasks, name)[rows]), name
            for name, value in own.clip.maps().items():
                assert torch.allclose(value, whole.clip.maps()[name][rows], atol=1e-5, equal_nan=True), name
            assert own.memory is not None and whole.memory is not None
            assert all(torch.allclose(a, b[rows], atol=1e-5) for a, b in zip(own.memory, whole.memory))


TORCHRUNS = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, {"parallel": "ddp"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        (TORCHRUNS, {}, "expected ddp"),
        (TORCHRUNS, {"parallel": "ddp", "context_parallel": 3}, "groups of 3"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(environment, options, message: str, monkeypatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), joined(TrainConfig(device="cpu", **options)):
        pass


def test_without_torchrun_there_is_one_process_whatever_the_configuration_is(monkeypatch) -> None:
    for name in TORCHRUNS:
        monkeypatch.delenv(name, raising=False)
    with joined(TrainConfig(device="cpu", parallel="fsdp", context_parallel=2)) as ranks:
        assert ranks == Ranks(torch.device("cpu")) and not torch.distributed.is_initialized()


def test_a_batch_the_ranks_cannot_share_is_refused(run_in: Made) -> None:
    with pytest.raises(InputError, match="a batch of 2 for 3 ranks"):
        Trainer(run_in("uneven"), Ranks(torch.device("cpu"), 0, 3, "ddp"))


@pytest.mark.slow
def test_every_way_to_share_the_work_has_the_losses_of_one(run_in: Made, root: Path) -> None:
    kinds = {
        "adamw": {"parallel": "fsdp", "optimizer": "adamw"},
        "frames": {"parallel": "fsdp", "context_parallel": 2, "checkpointing": True},
        "recomputed": {"parallel": "ddp", "checkpointing": True},
    }
    runs = {name: run_in(name, **options) for name, options in kinds.items()}
    for kind in ("ddp", "fsdp"):
        name = f"rewarded {kind}"
        runs[name] = replace(run_in(name, parallel=kind, alignment_weight=0.0), reward=RewardConfig(given=1, steps=2))
    torchrun(root, "tests/training/engine/several.py", *(f"{written(config)}:{SPLIT}" for config in runs.values()))
    for name, config in runs.items():
        options = {"optimizer": config.train.optimizer, "alignment_weight": config.train.alignment_weight}
        alone = Trainer(replace(run_in(f"{name} alone", **options), reward=config.reward))
        assert_close(left_by(config), steps_of(alone), 1, SPLIT)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_compiled_blocks_have_the_losses_of_one_process_that_does_not_compile(
    parallel: str, run_in: Made, root
) -> None:
    def small(name: str, **train) -> RunConfig:
        config = run_in(name, steps=6, frames=(2,), **train)
        network = replace(config.model.network, attention=("full",))
        return replace(config, model=replace(config.model, network=network))

    config = small(f"compiled {parallel}", parallel=parallel, compile=True, checkpointing=True)
    torchrun(root, "tests/training/engine/several.py", f"{written(config)}:6")
    alone = Trainer(small(f"eager {parallel}"))
    assert_close(left_by(config), steps_of(alone), 1, 6)


@pytest.mark.slow
def test_a_run_whose_processes_are_killed_is_restarted_by_torchrun_and_ends_as_one_that_was_not(
    run_in: Made, one, root: Path
) -> None:
    config = run_in("killed", parallel="fsdp", checkpoint_every=2, log_every=1, sheet_every=10**6)
    draw, kills = random.SystemRandom(), 0
    command = [*TORCHRUN, "--max-restarts", "8", "-m", "worldgen.cli", "train", str(written(config))]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # as in docs/guides/training.md
    with subprocess.Popen([sys.executable, *command], cwd=root, env=environment) as agent:
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
        log = config.output / "log.jsonl"
        while kills < 4 and agent.poll() is None:
            wanted = 4 * (kills + 1)
            while agent.poll() is None and not (log.exists() and f'"step": {wanted},' in log.read_text()):
                time.sleep(0.02)
            time.sleep(draw.random())
            workers = [int(pid) for pid in children.read_text().split()]
            if len(workers) == 2:
                os.kill(draw.choice(workers), signal.SIGKILL)
                kills += 1
                opened = checkpoint.Checkpoint(config.output / "checkpoint.safetensors")
                assert opened.header["step"] >= wanted - 2 and len(dict(opened)) == len(opened)
        assert agent.wait(timeout=600) == 0 and kills == 4
    found = {r["step"]: (r["loss"], r["gradient_norm"]) for r in map(json.loads, log.read_text().splitlines())}
    assert_close(found, one[1], 1, STEPS)
    assert {path.name for path in config.output.glob("checkpoint*")} == {
        "checkpoint.safetensors",
        f"checkpoint.{STEPS:07d}.1-of-2.safetensors",
    }
