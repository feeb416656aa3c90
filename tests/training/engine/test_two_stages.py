"""Training a second stage: `configs/fine.yaml`, made small."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from tests.models.tiny import awake, tiny_model
from tests.training.engine.test_trainer import assert_same_state, trained
from worldgen.cli import main
from worldgen.core.conditioning import Conditioning
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import load
from worldgen.training.config.objectives import DistillConfig, RewardConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.trainer import Trainer
from worldgen.training.planning import plan

SMALL = (
    "model.network={widths: [8, 8, 8, 8, 8], heads: 1, planes: 8}", "model.size_px=16", "data.views=3", "data.pool=2",
    "data.reuse=2", "data.supersample=1", "data.families={tabletop: 1}", "train.batch=2", "train.frames=[2, 3]",
    "train.steps=4", "train.curriculum=[]", "train.warmup=1", "train.device=cpu", "tasks.causal=0.5",
    "tasks.degraded=0.3", "tasks.no_coarse=0.2",
)  # fmt: skip
Make = Callable[..., RunConfig]


@pytest.fixture
def fine(root: Path, tmp_path: Path) -> Make:
    """`fine("name", "train.steps=2", ...)`: the run over a first stage of images of 16 pixels."""
    first = WorldModel.create(replace(tiny_model(), frames=8))
    awake(first.network, 0.1)
    first.save(tmp_path / "first")

    def make(name: str = "run", *overrides: str) -> RunConfig:
        own = (f"output={tmp_path / name}", f"model.coarse={tmp_path / 'first'}")
        return load(RunConfig, root / "configs" / "fine.yaml", (*own, *SMALL, *overrides))

    return make


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        pytest.param(("train.optimizer=adamw", "train.precision=bf16"), marks=pytest.mark.slow),
        pytest.param(("train.checkpointing=true", "model.size_px=32"), marks=pytest.mark.slow),
    ],
)
def test_stopping_and_resuming_is_training_without_a_stop_bit_for_bit(fine: Make, overrides: tuple[str, ...]) -> None:
    whole = trained(fine("whole", *overrides))
    trained(fine("parts", *overrides), steps=2)
    parts = trained(fine("parts", *overrides))
    assert whole.step == parts.step == 4
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)


def test_only_the_second_stage_is_trained_and_every_part_of_it(fine: Make) -> None:
    fresh, whole = Trainer(fine("fresh")), trained(fine("whole"))
    assert whole.model.coarse is not None and fresh.model.coarse is not None
    state, coarse = fresh.model.state(), fresh.model.coarse.state()
    assert all(torch.equal(value, coarse[name]) for name, value in whole.model.coarse.state().items())
    same = {name for name, value in whole.model.state().items() if torch.equal(value, state[name])}
    # Frames of still scenes have no neighbors in time.
    assert {name for name in same if not name.startswith("time_")} == set()


def test_recomputing_changes_nothing_of_what_is_learned(fine: Make) -> None:
    plain, saving = trained(fine("plain")), trained(fine("saving", "train.checkpointing=true"))
    assert saving.model.network.checkpointing
    for name, value in plain.model.state().items():
        assert torch.equal(saving.model.state()[name], value), name


def test_the_command_leaves_a_model_that_works_from_anywhere(
    fine: Make, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = fine("run")
    overrides = (f"output={config.output}", f"model.coarse={config.model.coarse}", *SMALL, "train.steps=2")
    assert main(["train", str(root / "configs" / "fine.yaml"), *overrides]) == 0
    assert (config.output / "sheets").is_dir() or (config.output / "model" / "weights.safetensors").exists()
    shutil.rmtree(tmp_path / "first")
    shutil.move(config.output / "model", tmp_path / "kept")
    monkeypatch.chdir("/")
    model = WorldModel.load(tmp_path / "kept")
    assert model.coarse is not None and model.coarse.config.name == "tiny test"


def test_a_run_starts_from_a_second_stage_of_the_same_shape(fine: Make, tmp_path: Path) -> None:
    trained(fine("before")).averaged().save(tmp_path / "start")
    begun = Trainer(fine("after", f"train.start_from={tmp_path / 'start'}"))
    start = WorldModel.load(tmp_path / "start").state()
    assert all(torch.equal(value, start[name]) for name, value in begun.model.state().items())
    assert begun.model.coarse is not None and next(begun.steps())["loss"] > 0
    with pytest.raises(InputError, match="it cannot grow"):
        Trainer(fine("other", f"train.start_from={tmp_path / 'start'}", "model.network.planes=16"))


def test_the_network_sees_coarse_clips_of_every_kind(fine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, seen = Trainer(fine("run", "train.batch=8", "data.pool=8")), []
    network: Any = trainer.model.network
    forward = network.forward

    def watched(x: Any, level: Any, conditioning: Conditioning, tap: int | None = None) -> Any:
        seen.append(conditioning)
        return forward(x, level, conditioning, tap)

    monkeypatch.setattr(network, "forward", watched)
    for _, _record in zip(range(3), trainer.steps()):
        pass
    coarse = [clip for c in seen if c.coarse is not None for clip in c.coarse]
    missing = [bool(clip.isnan().all()) for clip in coarse]
    assert len(coarse) == 24 and 0 < sum(missing) < 24
    assert all(bool(clip.isfinite().all()) for clip, none in zip(coarse, missing) if not none)
    assert any(c.order is not None for c in seen)


REFUSED = [
    ({"context_parallel": 2}, r"^train.context_parallel with model.backbone 'unet', which does not support it"),
    ({"alignment_weight": 0.1}, r"^train.alignment_weight with model.backbone 'unet'"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_a_unet_cannot_have_is_refused_before_anything_runs(
    fine: Make, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    config = fine()
    with pytest.raises(InputError, match=said):
        replace(config, train=replace(config.train, **options))
    with pytest.raises(InputError, match=r"^reward with model.backbone 'unet'"):
        replace(config, reward=RewardConfig())
    distilled = replace(config.train, start_from=str(tmp_path / "x"), optimizer="adamw")
    with pytest.raises(InputError, match=r"^distill with model.backbone 'unet'"):
        replace(config, train=distilled, distill=DistillConfig())
    with pytest.raises(InputError, match="size_px 24; expected a multiple of 16"):
        fine("run", "train.curriculum=[{steps: 1, size_px: 24, batch: 2, frames: [2]}]")


def test_a_first_stage_that_is_not_there_is_one_line(fine: Make, root: Path, tmp_path: Path, capsys: Any) -> None:
    overrides = (f"output={tmp_path / 'run'}", f"model.coarse={tmp_path / 'nowhere'}", *SMALL)
    assert main(["train", str(root / "configs" / "fine.yaml"), *overrides]) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said and "Traceback" not in said and not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_a_plan_counts_what_recomputing_saves(fine: Make) -> None:
    config = fine("run", "model.size_px=32")
    planned, saving = plan(config), plan(replace(config, train=replace(config.train, checkpointing=True)))
    assert planned.parameters == sum(parameter.numel() for _, parameter in Trainer(config).model.parameters())
    assert saving.working_bytes < 0.7 * planned.working_bytes and saving.step_flops > 1.1 * planned.step_flops


def test_the_command_plans_it(fine: Make, root: Path, capsys: Any) -> None:
    config = fine()
    parameters = sum(parameter.numel() for _, parameter in WorldModel.create(config.model).parameters())
    overrides = (f"output={config.output}", f"model.coarse={config.model.coarse}", *SMALL)
    assert main(["plan", str(root / "configs" / "fine.yaml"), *overrides]) == 0
    out = capsys.readouterr().out
    assert f"parameters       {parameters / 1e6:.2f} million" in out and "training memory" in out


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_compiled_blocks_learn_the_same(fine: Make) -> None:
    losses = [
        [r["loss"] for r in Trainer(fine(n, o)).steps()]
        for n, o in (("a", "train.compile=false"), ("b", "train.compile=true"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
