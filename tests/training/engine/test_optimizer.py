"""The optimizers, and the learning rate over a run."""

import pytest
import torch
from torch import nn

from tests.models.tiny import tiny_model
from worldgen.models.world_model import WorldModel
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.optimizer import Muon, build_optimizers, orthogonalized, rate


@pytest.mark.parametrize(("name", "kinds"), [("muon", {"adamw", "muon"}), ("adamw", {"adamw"})])
def test_every_weight_has_exactly_one_optimizer(name: str, kinds: set[str]) -> None:
    model = WorldModel.create(tiny_model())
    optimizers = build_optimizers(model.parameters(), TrainConfig(optimizer=name))
    held = [p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    assert set(optimizers) == kinds
    assert sorted(map(id, held)) == sorted(map(id, model.network.parameters()))


def test_orthogonalized_matrices_have_singular_values_near_one_and_the_same_singular_vectors() -> None:
    for shape in ((3, 24, 40), (2, 40, 24), (1, 16, 16)):
        matrices = torch.randn(shape)
        values = torch.linalg.svdvals(orthogonalized(matrices))
        assert values.min() > 0.5 and values.max() < 1.3
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        polar = orthogonalized(matrices) * (left @ right)
        assert bool((polar.sum((1, 2)) / min(shape[1:]) > 0.75).all())


def test_muon_steps_as_torch_s_own_does_but_for_bfloat16_s_rounding() -> None:
    start = torch.randn(24, 40)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    optimizer = Muon([ours], 0.02, 0.1)
    for _ in range(4):
        ours.grad = torch.randn(24, 40)
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_the_rate_warms_up_holds_and_cools_to_nothing() -> None:
    config = TrainConfig(steps=100, warmup=10, cooldown=0.4)
    rates = torch.tensor([rate(config, step, 100) for step in range(100)])
    assert (
        bool((rates[:10].diff() > 0).all()) and bool((rates[9:60] == 1).all()) and bool((rates[60:].diff() < 0).all())
    )
    assert 0 < rates[-1] < 0.03 and rate(config, 100, 100) == 0
