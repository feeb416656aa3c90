"""`TERMS`: every loss term there is, when a run has it, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass

from worldgen.models.world_model import WorldModel
from worldgen.runtime.rng import fresh_weights
from worldgen.training.config.run import RunConfig
from worldgen.training.objectives.alignment import Alignment
from worldgen.training.objectives.consistency import Consistency
from worldgen.training.objectives.denoising import Denoising
from worldgen.training.objectives.distillation import Distillation
from worldgen.training.objectives.look_up import LookUp
from worldgen.training.objectives.reward import Reward
from worldgen.training.objectives.term import Term


@dataclass(frozen=True)
class TermKind:
    """A row of `TERMS`.

    applies  whether a run has the term
    build    the term of a run's model; weights of its own are functions of the run's seed (`fresh_weights`)
    """

    applies: Callable[[RunConfig], bool]
    build: Callable[[WorldModel, RunConfig], Term]


def _alignment(model: WorldModel, run: RunConfig) -> Term:
    with fresh_weights(run.train.seed, 1):
        return Alignment(model.network, run.train.alignment_weight, run.train.alignment_until)


def _reward(model: WorldModel, run: RunConfig) -> Term:
    assert run.reward is not None
    return Reward(run.reward)


def _distillation(model: WorldModel, run: RunConfig) -> Term:
    assert run.distill is not None
    with fresh_weights(run.train.seed):
        return Distillation(model, run.train, run.distill)


def _looks_up(run: RunConfig) -> bool:
    """Whether the network looks things up, and is trained on how it does."""
    return run.model.backbone == "unet"


# By the name of a term's own weights in checkpoints, in the order in which they are added up.
TERMS: dict[str, TermKind] = {
    "denoising": TermKind(
        lambda run: run.distill is None and not _looks_up(run), lambda model, run: Denoising(model, run.train)
    ),
    "look-up": TermKind(lambda run: run.distill is None and _looks_up(run), lambda _, run: LookUp(run.train)),
    "distillation": TermKind(lambda run: run.distill is not None, _distillation),
    "consistency": TermKind(lambda run: run.train.consistency_weight > 0, lambda _, run: Consistency(run.train)),
    "alignment": TermKind(lambda run: run.train.alignment_weight > 0, _alignment),
    "reward": TermKind(lambda run: run.reward is not None, _reward),
}


def build_terms(model: WorldModel, run: RunConfig) -> dict[str, Term]:
    """The terms of a run's loss.

    Args:
        model: The model that is trained, or the teacher of the student that is.
        run: The run's configuration.

    Returns:
        Terms by name, in the order of `TERMS`.
    """
    return {name: kind.build(model, run) for name, kind in TERMS.items() if kind.applies(run)}
