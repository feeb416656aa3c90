"""Loss terms: a table of those a run has, added up in order, with weights of their own where they have some."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.training.engine.test_trainer import assert_same_state, trained
from worldgen.training.config.objectives import DistillConfig, RewardConfig
from worldgen.training.engine import checkpoint
from worldgen.training.engine.trainer import Trainer
from worldgen.training.objectives.alignment import Alignment
from worldgen.training.objectives.objective import Objective
from worldgen.training.objectives.term import Progress, Term, TrainingStep
from worldgen.training.objectives.terms import TERMS, TermKind, build_terms


def test_a_run_has_the_terms_it_asks_for_in_the_order_of_the_table(run_of) -> None:
    def names(run) -> list[str]:
        return [name for name, kind in TERMS.items() if kind.applies(run)]

    plain = run_of()
    assert names(plain) == ["denoising"]
    assert names(run_of(consistency_weight=1.0, alignment_weight=1.0)) == ["denoising", "consistency", "alignment"]
    assert names(replace(plain, reward=RewardConfig(given=1))) == ["denoising", "reward"]
    student = run_of(start_from="tiny", optimizer="adamw")
    assert names(replace(student, distill=DistillConfig())) == ["distillation"]


def test_a_part_of_a_run_is_over_from_the_same_step_whatever_rounding() -> None:
    assert [Progress(step, 40).before(0.6) for step in (0, 23, 24, 39)] == [True, True, False, False]


class Brightness(Term):
    """A toy: the predicted images' distance to a brightness that the term learns."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = nn.Parameter(torch.tensor(0.5))

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        part = (step.prediction.x0.mean() - self.wanted).square()
        return 3 * part, {"brightness": part}


@pytest.fixture
def brightness(monkeypatch) -> None:
    """The table with a row from outside."""
    monkeypatch.setitem(TERMS, "brightness", TermKind(lambda run: True, lambda model, run: Brightness()))


def test_a_term_from_outside_is_added_trained_and_kept_beside_the_model(run_of, brightness) -> None:
    trainer = Trainer(run_of())
    total, parts = trainer.loss()
    plain, few = Objective(trainer.model, {"denoising": trainer.terms["denoising"]})(trainer.batches.at(0), Progress())
    assert [*parts] == [*few, "brightness"]
    assert float(total) == pytest.approx(float(plain) + 3 * float(parts["brightness"]), rel=1e-5)
    assert ("brightness.wanted", trainer.terms["brightness"].wanted) in trainer.parameters()
    assert not any(name.startswith("brightness") for name in trainer.state())
    whole = trained(run_of("whole"))
    trained(run_of("parts"), steps=3)
    parts = trained(run_of("parts"))
    assert_same_state(whole.checkpoint_path, parts.checkpoint_path)
    kept, _ = checkpoint.load(whole.checkpoint_path)
    assert float(kept["brightness.wanted"]) != 0.5


def test_the_network_is_called_once_for_all_terms_that_read_its_prediction(run_of, brightness) -> None:
    trainer = Trainer(run_of(consistency_weight=1.0, alignment_weight=1.0))
    calls: list[int] = []
    trainer.model.network.register_forward_hook(lambda *_: calls.append(1))
    assert {"brightness", "consistency", "geometry"} < set(trainer.loss()[1]) and len(calls) == 1


def test_terms_that_tap_different_blocks_are_refused(run_of) -> None:
    trainer = Trainer(run_of(alignment_weight=1.0))
    first, second = (build_terms(trainer.model, trainer.config)["alignment"] for _ in range(2))
    assert isinstance(second, Alignment)
    second.block += 1
    with pytest.raises(AssertionError, match="expected at most one"):
        Objective(trainer.model, {"a": first, "b": second})(trainer.batches.at(0), Progress())
