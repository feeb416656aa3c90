"""Students of few steps: what they are taught, that they learn it, and what is kept of them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from geometry.errors import InputError
from tests.models.tiny import awake, tiny_model
from tests.training.engine.test_trainer import assert_same_state, trained
from worldgen.cli import main
from worldgen.models.lora import LowRank
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.config import load, plain
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import Euler
from worldgen.training.config.objectives import DistillConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.objectives.distillation import Distillation
from worldgen.training.objectives.inputs import network_inputs
from worldgen.training.student import StudentTrainer

GIVEN = TaskConfig(given=1.0, given_depth=0.0, depth=0.0, unknown=0.0, independent=0.0, drop_cameras=0.0, top=0.5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """The folder of a small model whose weights are all awake."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("teacher")
    model = WorldModel.create(tiny_model())
    awake(model.network, 0.1)
    model.save(folder)
    return folder


@pytest.fixture
def student_of(run_of, teacher: Path) -> Callable[..., RunConfig]:
    """`student_of("name", DistillConfig(...), steps=8, ...)`: a run of seconds."""

    def make(name: str = "run", distill: DistillConfig = DistillConfig(2, 6, 1.5, 4), **train) -> RunConfig:  # noqa: B008 - frozen
        options = {"start_from": str(teacher), "optimizer": "adamw", "weight_decay": 0.0, "frames": (3,), **train}
        return replace(run_of(name, GIVEN, **options), distill=distill)

    return make


def test_a_student_of_as_many_steps_without_guidance_has_nothing_to_learn(student_of) -> None:
    loss, parts = StudentTrainer(student_of(distill=DistillConfig(5, 5, 1.0, 4))).loss()
    assert float(loss) < 1e-9 and set(parts) == {"rgb", "depth"}
    assert float(StudentTrainer(student_of()).loss()[0]) > 1e-6


def test_the_target_leads_where_the_sampler_s_guided_steps_do(student_of) -> None:
    trainer = StudentTrainer(student_of(distill=DistillConfig(1, 4, 1.7, 4)))
    term, model, batch = trainer.terms["distillation"], trainer.model, trainer.batches.at(0)
    assert isinstance(term, Distillation)
    seen = network_inputs(model, batch, term.levels(batch.tasks.level))
    assert set(seen.level.unique().tolist()) == {0.0, 1.0}  # one step from pure noise
    target = term.target(seen, batch.noise)
    for row in range(len(batch.noise)):
        one = slice(row, row + 1)
        levels = Levels.given(seen.level[row] == 0, 4)
        guided = guide(model.denoiser(), Guidance(image=1.7), batch.noise[one])
        conditioning = replace(
            seen.conditioning,
            cameras=seen.conditioning.cameras[one],
            cameras_known=seen.conditioning.cameras_known[one],
        )
        *_, last = sample(guided, seen.x0[one], batch.noise[one], levels, conditioning, Euler())
        torch.testing.assert_close(target[one], last.x, rtol=1e-4, atol=1e-4)


def test_levels_rise_to_the_student_s_grid_and_given_columns_stay_given(student_of) -> None:
    term = StudentTrainer(student_of(distill=DistillConfig(4, 8, 1.0, 4))).terms["distillation"]
    assert isinstance(term, Distillation)
    level = torch.tensor([[[0.0, 1e-3, 0.25, 0.26, 0.7, 0.75, 0.99, 1.0]]])
    assert term.levels(level).tolist() == [[[0.0, 0.25, 0.25, 0.5, 0.75, 0.75, 1.0, 1.0]]]


def test_a_student_comes_nearer_to_its_teacher_and_the_teacher_stays(student_of) -> None:
    trainer = StudentTrainer(student_of(steps=50, warmup=2, learning_rate=0.01, distill=DistillConfig(2, 4, 3.0, 8)))
    before, first = {name: value.clone() for name, value in trainer.model.state().items()}, mean_loss(trainer)
    for _ in trainer.steps():
        pass
    assert mean_loss(trainer) < 0.8 * first
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state().items())
    assert all(not parameter.requires_grad for parameter in trainer.model.network.parameters())


@torch.no_grad()
def mean_loss(trainer: StudentTrainer) -> float:
    """Over the clips of the first steps, whatever step it is."""
    now, losses = trainer.step, []
    for trainer.step in range(8):
        losses.append(float(trainer.loss()[0]))
    trainer.step = now
    return sum(losses) / len(losses)


def test_a_run_that_was_stopped_goes_on_exactly(student_of) -> None:
    whole = trained(student_of("whole", steps=6), kind=StudentTrainer)
    trained(student_of("parts", steps=6), steps=3, kind=StudentTrainer)
    parts = trained(student_of("parts", steps=6), kind=StudentTrainer)
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)


def test_a_change_of_low_rank_is_nothing_at_first_and_fits_large_matrices_only() -> None:
    state = {"a.weight": torch.randn(9, 12), "a.bias": torch.randn(9), "small.weight": torch.randn(9, 4)}
    change = LowRank(state, 4)
    assert {name for name, _ in change.named_parameters()} == {"down.a/weight", "up.a/weight"}
    assert all(torch.equal(value, state[name]) for name, value in change.changed(state).items())
    torch.nn.init.normal_(change.up["a/weight"])
    changed = change.changed(state)
    assert torch.linalg.matrix_rank(changed["a.weight"] - state["a.weight"], atol=1e-4) == 4
    assert torch.equal(changed["small.weight"], state["small.weight"])


@pytest.fixture
def file(student_of, tmp_path: Path) -> Path:
    """The configuration of a student's run of three steps."""
    config = student_of(steps=3, checkpoint_every=1, sheet_every=3, log_every=1, learning_rate=0.05)
    path = tmp_path / "student.yaml"
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False))
    return path


def test_a_run_leaves_a_small_change_that_loads_as_a_model_with_its_own_steps(file: Path, teacher: Path) -> None:
    assert main(["train", str(file)]) == 0
    folder = file.parent / "run" / "model"
    assert {path.name for path in folder.iterdir()} == {"config.json", "weights.safetensors"}
    model, base = WorldModel.load(folder), WorldModel.load(teacher)
    assert model.config.name == "tiny test" and Sampling.of(model) == Sampling(2, 1.0)
    assert Sampling.of(model, 7, 2.0) == Sampling(7, 2.0) and Sampling.of(base) == Sampling(20, 1.5)
    assert model.weights_sha256 != base.weights_sha256
    trainer = StudentTrainer(student_run(file))
    kept = trainer.averaged().state()
    moved = 0.0
    for name, value in model.state().items():
        torch.testing.assert_close(value, kept[name], rtol=1e-2, atol=1e-3)
        moved = max(moved, float((value - base.state()[name]).abs().max()))
    assert moved > 0.01


def student_run(file: Path) -> RunConfig:
    """The run of a file."""
    return load(RunConfig, file)


def test_a_run_does_not_go_on_under_other_weights_of_its_teacher(student_of, teacher: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(teacher, own)
    config = student_of(steps=4, start_from=str(own))
    trained(config, steps=2, kind=StudentTrainer)
    model = WorldModel.load(own)
    with torch.no_grad():
        next(model.network.parameters()).add_(1)
    model.save(own)
    with pytest.raises(InputError, match="another configuration"):
        StudentTrainer(config)


def test_a_student_and_its_teacher_can_be_moved_together(file: Path, teacher: Path, tmp_path: Path) -> None:
    together = tmp_path / "a" / "teacher"
    shutil.copytree(teacher, together)
    assert main(["train", str(file), f"train.start_from={together}", f"output={tmp_path / 'a' / 'run'}"]) == 0
    (tmp_path / "a").rename(tmp_path / "b")
    assert WorldModel.load(tmp_path / "b" / "run" / "model").config.sampling.steps == 2


CASES = ["other weights", "no base", "another rank", "no rank", "itself", "a shape"]


@pytest.mark.parametrize("case", CASES)
def test_a_student_that_does_not_fit_is_one_error(case: str, file: Path, teacher: Path) -> None:
    assert main(["train", str(file)]) == 0
    folder = file.parent / "run" / "model"
    facts = json.loads((folder / "config.json").read_text())
    match case:
        case "other weights":
            facts["base_sha256"], message = "0" * 64, "changes weights 000000000000 of"
        case "no base":
            facts["base"], message = str(file.parent / "nothing"), "nothing.*expected one of"
        case "another rank":
            facts["rank"], message = 5, "does not fit"
        case "no rank":
            facts["rank"], message = -1, "rank -1; expected 1 or more"
        case "itself":
            facts["base"], message = ".", "a student of itself"
        case _:
            weights = folder / "weights.safetensors"
            save_file({n: v[:, :1].contiguous() for n, v in load_file(weights).items()}, weights)
            message = "does not fit"
    (folder / "config.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=message) as raised:
        WorldModel.load(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.start_from=null", "expected the teacher"),
        ("train.parallel=fsdp", "distill with train.parallel fsdp"),
        ("train.optimizer=muon", "distill with train.optimizer muon; expected without"),
        ("train.checkpointing=true", "distill with train.checkpointing; expected without"),
        ("train.alignment_weight=1", "distill with train.alignment_weight; expected without"),
        ("distill.teacher_steps=7", "a multiple"),
        ("distill.rank=0", "a rank of 1 or more"),
        ("model.network.width=64", "model.network .*expected that of the teacher"),
    ],
)
def test_a_run_that_makes_no_sense_is_one_error(override: str, message: str, file: Path, capsys) -> None:
    assert main(["train", str(file), override]) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err
