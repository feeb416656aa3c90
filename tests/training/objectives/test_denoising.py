"""Denoising: what the loss counts, what it leaves out, and what it does not depend on."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.tiny import awake, tiny_model
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale_from_cameras
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.training.batches.batch import Batch
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.denoising import Denoising
from worldgen.training.objectives.inputs import encode
from worldgen.training.objectives.term import Progress, TrainingStep


@pytest.fixture
def model() -> WorldModel:
    made = WorldModel.create(tiny_model())
    awake(made.network).requires_grad_(True)
    return made


@pytest.fixture
def clip(run_of) -> Clip:
    return SceneStream(run_of(frames=(3,)), torch.device("cpu")).footage(0).clip


def task(rgb: tuple[float, ...], depth: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Tasks:
    """The same levels of three frames for two clips."""
    level = torch.stack([torch.tensor(rgb), torch.tensor(depth)], -1).repeat(2, 1, 1)
    yes = torch.tensor([True, True])
    return Tasks(torch.arange(3).expand(2, 3), level, torch.zeros(2, 3).long(), yes, yes, ~yes, torch.zeros(2, 5))


def of(model: WorldModel, clip: Clip, what: Tasks, noise: Tensor, weight: float = 1.0, half: bool = False, **options):
    batch = Batch(clip, ("", ""), what, noise, torch.ones(2))
    step = TrainingStep(model, batch, Progress(), "bf16" if half else "fp32")
    return Denoising(model, TrainConfig(depth_weight=weight, **options))(step)


NOISE = torch.randn(2, 3, 64, 4, 4, generator=torch.Generator().manual_seed(0))


def replaying(model: WorldModel, estimate: Callable[[Tensor], Tensor]) -> WorldModel:
    """The model with a denoiser that returns what it is given, as a function of x."""

    class Replaying(WorldModel):
        def denoiser(self, network=None):
            return FunctionDenoiser.like(super().denoiser(), lambda x, level, conditioning: estimate(x))

    return Replaying(model.config, model.network)


def test_the_truth_costs_nothing_and_ignorance_costs_the_signal_s_power(model: WorldModel, clip: Clip) -> None:
    normalization = Normalization.of(clip.cameras, scene_scale_from_cameras(clip.cameras))
    truth = model.config.codec.encode({"rgb": clip.rgb, "depth": normalization.signal_from_depth(clip.depth)})
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


def test_unknown_depth_carries_no_loss_and_is_never_given(model: WorldModel, clip: Clip) -> None:
    depth = clip.depth.clone()
    depth[0, 1, :, :8] = 0
    known = replace(clip, depth=depth)
    what = task((0, 0.5, 0.5), (0.0, 0.0, 0.5))
    _, parts = of(replaying(model, torch.zeros_like), known, what, NOISE)
    normalization = Normalization.of(clip.cameras, scene_scale_from_cameras(clip.cameras))
    truth, counted, level = encode(model, known, normalization, what.level)
    assert level[0, :, 1].tolist() == [0.0, 1.0, 0.5], "a frame whose depth has holes is unknown, not given"
    assert level[1, :, 1].tolist() == [0.0, 0.0, 0.5]
    squared = truth[:, :, 48:].square() * counted[:, :, 48:]
    first = (squared[0, 1].sum() + 4 * squared[0, 2].sum()) / (counted[0, 1, 48:].sum() + counted[0, 2, 48:].sum())
    second = 4 * squared[1, 2].mean()
    assert counted[0, 1, 48:].mean() == 0.5
    assert float(parts["depth"]) == pytest.approx(float((first + second) / 2), rel=1e-4)


def test_each_clip_counts_the_same_so_halves_of_a_batch_average_to_the_whole(model: WorldModel, clip: Clip) -> None:
    levels = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.3, 0.8]])
    what = replace(task((0, 0, 0)), level=torch.stack([levels, torch.full_like(levels, 0.6)], -1))
    term = Denoising(model, TrainConfig())
    batch = Batch(clip, ("", ""), what, NOISE, torch.ones(2))
    whole, _ = term(TrainingStep(model, batch, Progress()))
    parts = [Batch(clip[i : i + 1], ("",), what[i : i + 1], NOISE[i : i + 1], torch.ones(1)) for i in range(2)]
    halves = [term(TrainingStep(model, part, Progress()))[0] for part in parts]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), rel=1e-5)
