"""The training loss, its optimizers and its learning rate."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.tiny import awake, tiny_model
from worldgen.clip import Clip
from worldgen.gauge import Gauge, batch_scale
from worldgen.model import WorldModel
from worldgen.training.config import TrainConfig
from worldgen.training.data import SceneStream
from worldgen.training.level_sampling import Task
from worldgen.training.loss import loss
from worldgen.training.optimizer import build_optimizers, rate


@pytest.fixture
def model() -> WorldModel:
    made = WorldModel.create(tiny_model())
    awake(made.network).requires_grad_(True)
    return made


@pytest.fixture
def clip(run_of) -> Clip:
    return SceneStream(run_of(frames=(3,)), torch.device("cpu")).batch(0)


def task(rgb: tuple[float, ...], depth: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Task:
    """The same levels of three frames for two clips."""
    return Task(torch.stack([torch.tensor(rgb), torch.tensor(depth)], -1).repeat(2, 1, 1), torch.tensor([True, True]))


def of(model: WorldModel, clip: Clip, what: Task, noise: Tensor, weight: float = 1.0, half: bool = False):
    return loss(model, clip, what, noise, torch.ones(2), weight, half)


NOISE = torch.randn(2, 3, 64, 4, 4, generator=torch.Generator().manual_seed(0))


def replaying(model: WorldModel, estimate: Callable[[Tensor], Tensor]) -> WorldModel:
    """The model with a denoiser that says what it is told to, given x."""

    class Told(WorldModel):
        def denoiser(self):
            return lambda x, level, conditioning: estimate(x)

    return Told(model.config, model.network)


def test_the_truth_costs_nothing_and_ignorance_costs_the_signal_s_power(model: WorldModel, clip: Clip) -> None:
    gauge = Gauge.of(clip.cameras, batch_scale(clip.cameras))
    truth = model.config.codec.encode(clip.rgb, gauge.signal_from_depth(clip.depth))
    total, _ = of(replaying(model, lambda x: truth), clip, task((0, 0.4, 0.7)), NOISE)
    assert total == 0
    _, parts = of(replaying(model, torch.zeros_like), clip, task((0, 0.5, 0.5)), NOISE)
    assert float(parts["rgb"]) == pytest.approx(float(4 * truth[:, 1:, :48].square().mean()), rel=1e-4)
    assert float(parts["depth"]) == pytest.approx(float(truth[:, :, 48:].square().mean()), rel=1e-4)


def test_given_columns_carry_no_loss_and_no_gradient(model: WorldModel, clip: Clip) -> None:
    total, parts = of(model, clip, task((0, 0, 0), (0.5, 0.5, 0.5)), NOISE)
    total.backward()
    assert parts["rgb"] == 0 and parts["depth"] > 0
    head, other = (model.network.get_parameter(f"head.{name}.weight").grad for name in ("rgb", "depth"))
    assert head is not None and other is not None
    assert not head.any() and other.any()


def test_the_noise_of_a_given_column_does_not_matter(model: WorldModel, clip: Clip) -> None:
    other = NOISE.clone()
    other[:, 0, :48] = 7.0
    what = task((0, 0.5, 0.5))
    assert of(model, clip, what, other)[0] == of(model, clip, what, NOISE)[0]


def test_the_total_weighs_the_depth(model: WorldModel, clip: Clip) -> None:
    total, parts = of(model, clip, task((0, 0.5, 1.0)), NOISE, weight=0.3)
    assert total.item() == pytest.approx(parts["rgb"].item() + 0.3 * parts["depth"].item(), rel=1e-5)


def test_the_loss_does_not_depend_on_the_world_s_frame_or_unit(model: WorldModel, clip: Clip) -> None:
    what = task((0, 0.5, 1.0))
    bigger = replace(clip, depth=2 * clip.depth, cameras=clip.cameras.scaled(2.0))
    first, second = (of(model, seen, what, NOISE)[0].item() for seen in (clip, bigger))
    assert second == pytest.approx(first, rel=1e-3)


def test_half_precision_is_a_rounding_not_another_loss(model: WorldModel, clip: Clip) -> None:
    what = task((0, 0.5, 1.0))
    full, half = (of(model, clip, what, NOISE, half=choice)[0].item() for choice in (False, True))
    assert full != half and half == pytest.approx(full, rel=0.03)


@pytest.mark.parametrize(("name", "kinds"), [("muon", {"adamw", "muon"}), ("adamw", {"adamw"})])
def test_every_weight_has_exactly_one_optimizer(model: WorldModel, name: str, kinds: set[str]) -> None:
    optimizers = build_optimizers(model.network, TrainConfig(optimizer=name))
    held = [p for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    assert set(optimizers) == kinds
    assert sorted(map(id, held)) == sorted(map(id, model.network.parameters()))


def test_the_rate_warms_up_holds_and_cools_to_nothing() -> None:
    config = TrainConfig(steps=100, warmup=10, cooldown=0.4)
    rates = torch.tensor([rate(config, step) for step in range(100)])
    assert (
        bool((rates[:10].diff() > 0).all()) and bool((rates[9:60] == 1).all()) and bool((rates[60:].diff() < 0).all())
    )
    assert 0 < rates[-1] < 0.03 and rate(config, 100) == 0
