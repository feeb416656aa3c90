"""The training loop: it learns, it stops when it must, and it resumes exactly, also after being killed."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from geometry.errors import InputError
from tests.models.tiny import BLOCK, awake, tiny_config, tiny_model
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.text import TextConfig
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import plain
from worldgen.runtime.devices import pick_device
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import PATTERNS, TaskConfig
from worldgen.training.config.train import TrainingStage
from worldgen.training.engine import checkpoint
from worldgen.training.engine.trainer import Trainer

FOREVER = """
import sys
from pathlib import Path
import torch
from worldgen.runtime.config import load
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.trainer import Trainer

torch.set_num_threads(1)
trainer = Trainer(load(RunConfig, Path(sys.argv[1])))
for record in trainer.steps():
    if record["step"] % trainer.config.train.checkpoint_every == 0:
        trainer.save()
    print(record["step"], flush=True)
sys.stdin.read()  # never ends by itself
"""


def trained(config: RunConfig, steps: int | None = None, kind: type[Trainer] = Trainer) -> Trainer:
    """A trainer of the run after `steps` more steps, or at its end, saved."""
    trainer = kind(config)
    for count, _ in enumerate(trainer.steps(), start=1):
        if count == steps:
            break
    trainer.save()
    return trainer


def assert_same_state(a: Path, b: Path) -> None:
    """Two checkpoints are equal: step, weights, averages and the optimizers' tensors, bit for bit."""
    (first, header), (second, other) = checkpoint.load(a), checkpoint.load(b)
    assert header == other
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("options", [{"optimizer": "muon"}, {"optimizer": "adamw"}, {"precision": "bf16"}])
def test_stopping_and_resuming_is_training_without_a_stop_bit_for_bit(run_of, options: dict) -> None:
    whole = trained(run_of("whole", **options))
    trained(run_of("parts", **options), steps=3)
    parts = trained(run_of("parts", **options))
    assert whole.step == parts.step == 8
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)
    kinds = {name.partition(".")[0] for name in checkpoint.load(parts.checkpoint_path)[0]}
    assert kinds == {"model", "ema", *whole.optimizers}


def test_a_killed_run_resumes_to_the_very_state_of_one_that_was_not(run_of, root: Path, tmp_path: Path) -> None:
    config = run_of("killed", steps=24, checkpoint_every=2)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    kill_after, moment = random.SystemRandom().randint(2, 23), random.SystemRandom().random()
    print(f"killed after step {kill_after} and {moment:.3f} of another")
    command = [sys.executable, "-c", FOREVER, str(file)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began, took = time.monotonic(), 0.0
        for line in process.stdout:
            if int(line) == kill_after:
                break
            took, began = time.monotonic() - began, time.monotonic()
        time.sleep(moment * took)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    resumed = Trainer(config)
    assert resumed.step % 2 == 0 and kill_after - 1 <= resumed.step <= 24
    whole = trained(run_of("whole", steps=24, checkpoint_every=2))
    assert_same_state(trained(config).checkpoint_path, whole.checkpoint_path)


@pytest.mark.slow
def test_killed_at_random_moments_fifty_times_a_run_loses_no_checkpoint_and_ends_as_one_that_was_not(
    run_of, root: Path, tmp_path: Path
) -> None:
    config = run_of("killed", steps=10**6, cooldown=0.0, checkpoint_every=2)
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    draw, command, before, lost = random.SystemRandom(), [sys.executable, "-c", FOREVER, str(file)], 0, []
    for _ in range(50):
        printed = before
        with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                printed = int(line)
                if printed >= before + draw.randint(1, 4):
                    break
            time.sleep(draw.random() * draw.choice([0.01, 0.1, 0.5]))
            process.send_signal(signal.SIGKILL)
            printed = max([printed, *(int(line) for line in process.stdout if line.endswith("\n"))])
        opened = checkpoint.Checkpoint(config.output / "checkpoint.safetensors") if printed > 1 else None
        step = 0 if opened is None else opened.header["step"]
        # A step is printed after its checkpoint: of those that were, none is lost.
        assert step % 2 == 0 and printed - 1 <= step <= printed + 1, (printed, step)
        assert opened is None or all(bool(value.isfinite().all()) for value in opened.values())
        lost.append(printed - step)
        before = step
    print(f"50 kills to step {before}; steps lost: {lost}")
    whole = run_of("whole", steps=10**6, cooldown=0.0)
    trained(whole, steps=before)
    assert_same_state(config.output / "checkpoint.safetensors", whole.output / "checkpoint.safetensors")


def test_the_loss_falls_on_a_problem_small_enough_to_learn(run_of) -> None:
    config = run_of(
        steps=120,
        learning_rate=1e-2,
        ema=0.9,
        tasks=TaskConfig(**dict.fromkeys(PATTERNS, 0.0) | {"given": 1.0}, top=1.0),
    )
    config = replace(config, data=replace(config.data, pool=1, reuse=1000))
    losses = torch.tensor([record["loss"] for record in Trainer(config).steps()])
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()


def test_two_trainers_of_one_configuration_agree_and_of_another_seed_do_not(run_of) -> None:
    first, second, other = (
        list(Trainer(run_of(name, seed=seed, steps=2)).steps()) for name, seed in zip("abc", (0, 0, 1))
    )
    assert [record["loss"] for record in first] == [record["loss"] for record in second]
    assert first[0]["loss"] != other[0]["loss"]


def test_creating_a_trainer_leaves_the_global_generator_alone(run_of) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    Trainer(run_of())
    assert torch.equal(torch.rand(3), wanted)


def test_the_averaged_weights_follow_the_trained_ones_slowly(run_of) -> None:
    trainer = Trainer(run_of(ema=0.5, steps=30))
    average = {name: value.clone() for name, value in trainer.model.network.state_dict().items()}
    for step, _ in enumerate(trainer.steps()):
        decay = min(0.5, (step + 1) / (step + 10))
        for name, value in trainer.model.network.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * value
        if step == 11:
            break
    for name, value in trainer.averaged().network.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-5), name


def test_a_loss_that_is_nan_or_inf_stops_the_run_and_reports_where(run_of) -> None:
    trainer = trained(run_of(), steps=2)
    before = trainer.checkpoint_path.read_bytes()
    with torch.no_grad():
        trainer.model.network.get_parameter("head.rgb.bias").fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is nan at step 2") as caught:
        next(trainer.steps())
    assert "\n" not in str(caught.value)
    assert trainer.checkpoint_path.read_bytes() == before


def test_a_gradient_that_is_nan_or_inf_stops_the_run_before_it_reaches_the_weights(run_of) -> None:
    trainer = Trainer(run_of())
    next(trainer.steps())
    before = {name: value.clone() for name, value in trainer.model.network.state_dict().items()}
    bias = trainer.model.network.get_parameter("head.rgb.bias")
    bias.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    with pytest.raises(InputError):
        next(trainer.steps())
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.network.state_dict().items())


@pytest.mark.parametrize("other", [{"learning_rate": 1e-4}, {"seed": 3}, {"optimizer": "adamw"}])
def test_resuming_under_another_configuration_is_refused(run_of, other: dict) -> None:
    trained(run_of(), steps=1)
    with pytest.raises(InputError, match="another configuration") as caught:
        Trainer(run_of(**other))
    assert "\n" not in str(caught.value)


def test_the_intervals_of_what_is_written_may_change_on_resuming(run_of) -> None:
    trained(run_of(), steps=1)
    assert Trainer(run_of(checkpoint_every=3, sheet_every=5, log_every=7, steps=9)).step == 1


def test_a_run_can_start_from_a_model_of_the_same_network_or_a_smaller_one(run_of, tmp_path: Path) -> None:
    model = WorldModel.create(tiny_model())
    awake(model.network)
    model.save(tmp_path / "start")
    trainer = Trainer(run_of(start_from=str(tmp_path / "start")))
    start = model.network.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in trainer.model.network.state_dict().items())
    list(trainer.steps())
    assert not any(torch.equal(value, start[name]) for name, value in trainer.model.network.state_dict().items())
    wider = replace(run_of(start_from=str(tmp_path / "start")), output=tmp_path / "other")
    network = replace(wider.model.network, mlp_width=56)
    with pytest.raises(InputError, match="expected added parts only"):
        Trainer(replace(wider, model=replace(wider.model, network=network)))


def whole_model(config: RunConfig) -> RunConfig:
    """The run of a model that has every part: layout, memory and text."""
    network = replace(
        tiny_config(layout=3 * BLOCK**2, attention=("full", "neighbors")), memory_channels=5 * BLOCK**2, text_width=32
    )
    model = replace(
        config.model, codec=PixelCodec(BLOCK, layout=True), text=TextConfig("words", width=32), network=network
    )
    tasks = TaskConfig(prediction=0.2, interpolation=0.2, layout=0.2, causal=0.4, memory=0.6)
    return replace(config, model=model, tasks=tasks)


def test_a_model_with_every_part_trains_resumes_exactly_and_is_saved_whole(run_of, tmp_path: Path) -> None:
    options = {"curriculum": (TrainingStage(3, 8, 2, (1, 2)),), "consistency_weight": 0.1, "checkpointing": True}
    options |= {"alignment_weight": 2.0, "alignment_until": 0.6}
    whole = trained(whole_model(run_of("whole", **options)))
    trained(whole_model(run_of("parts", **options)), steps=4)
    parts = trained(whole_model(run_of("parts", **options)))
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)
    fresh = Trainer(whole_model(run_of("fresh", **options)))
    changed = {n for n, v in whole.model.state().items() if not torch.equal(v, fresh.model.state()[n])}
    for part in ("memory.weight", "words.table.weight", "embed.layout.weight", "blocks.1.attention.text_value.weight"):
        assert part in changed, part
    whole.averaged().save(tmp_path / "model")
    loaded = WorldModel.load(tmp_path / "model")
    assert all(torch.equal(value, loaded.state()[name]) for name, value in whole.averaged().state().items())


def test_a_run_adds_parts_to_the_model_it_starts_from(run_of, tmp_path: Path) -> None:
    model = WorldModel.create(tiny_model())
    awake(model.network)
    model.save(tmp_path / "start")
    config = run_of(start_from=str(tmp_path / "start"))
    grown = whole_model(config).model
    grown = replace(grown, network=replace(grown.network, attention=tiny_config().attention))
    trainer = Trainer(replace(config, model=grown))
    for name, value in model.network.state_dict().items():
        assert torch.equal(trainer.model.state()[name], value), name
    assert next(trainer.steps())["loss"] > 0


@pytest.mark.parametrize("name", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=name) as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == "" or pick_device("auto").type in ("cpu", "cuda")
