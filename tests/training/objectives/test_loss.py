"""The training loss, its optimizers and its learning rate."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.models.tiny import awake, tiny_model
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale_from_cameras
from worldgen.models.world_model import WorldModel
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.optimizer import Muon, build_optimizers, orthogonalized, rate
from worldgen.training.objectives.consistency import disagreement
from worldgen.training.objectives.loss import Batch, Objective, encode
from worldgen.training.weighting import weight


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
    return Tasks(torch.arange(3).expand(2, 3), level, torch.zeros(2, 3).long(), yes, yes, ~yes)


def of(model: WorldModel, clip: Clip, what: Tasks, noise: Tensor, weight: float = 1.0, half: bool = False, **options):
    config = TrainConfig(depth_weight=weight, precision="bf16" if half else "fp32", **options)
    return Objective(model, config)(Batch(clip, ("", ""), what, noise, torch.ones(2)))


NOISE = torch.randn(2, 3, 64, 4, 4, generator=torch.Generator().manual_seed(0))


def replaying(model: WorldModel, estimate: Callable[[Tensor], Tensor]) -> WorldModel:
    """The model with a denoiser that says what it is told to, given x."""

    class Told(WorldModel):
        def denoiser(self):
            return FunctionDenoiser.like(super().denoiser(), lambda x, level, conditioning: estimate(x))

    return Told(model.config, model.network)


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
    objective = Objective(model, TrainConfig(precision="fp32"))
    whole, _ = objective(Batch(clip, ("", ""), what, NOISE, torch.ones(2)))
    halves = [
        objective(Batch(clip[i : i + 1], ("",), what[i : i + 1], NOISE[i : i + 1], torch.ones(1)))[0] for i in range(2)
    ]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "at_half", "at_most"), [("velocity", 4, 25), ("x0", 1, 1), ("snr", 1, 16), ("min_snr", 1, 5)]
)
def test_weights_by_name(name: str, at_half: float, at_most: float) -> None:
    t = torch.tensor([0.5, 0.2, 0.01, 1.0])
    value = weight(name, t, 0.2)
    assert value[0] == pytest.approx(at_half) and value[1] == pytest.approx(at_most, rel=1e-5)
    assert value[2] == value[1] and value[3] == (0 if "snr" in name else 1)


def test_true_images_agree_across_views_and_shuffled_ones_do_not(run_of) -> None:
    config = run_of(frames=(3,))
    config = replace(config, model=replace(config.model, size_px=64), data=replace(config.data, supersample=3))
    clip = SceneStream(config, torch.device("cpu")).footage(0).clip
    one = torch.ones(clip.cameras.shape)
    true = disagreement(clip.rgb, clip, one)
    other = disagreement(clip.rgb.flip(0), clip, one)
    assert true < 0.1 * other
    assert disagreement(torch.full_like(clip.rgb, 0.3), clip, one) < 1e-10
    assert disagreement(clip.rgb, clip, 2 * one) == pytest.approx(2 * float(true), rel=1e-5)


def test_the_consistency_loss_reaches_the_network(model: WorldModel, clip: Clip) -> None:
    total, parts = of(model, clip, task((0, 0.5, 0.7)), NOISE, consistency_weight=2.0)
    without, _ = of(model, clip, task((0, 0.5, 0.7)), NOISE)
    assert parts["consistency"] > 0
    assert float(total) == pytest.approx(float(without + 2 * parts["consistency"]), rel=1e-5)
    parts["consistency"].backward()
    assert model.network.get_parameter("head.rgb.weight").grad is not None


@pytest.mark.parametrize(("name", "kinds"), [("muon", {"adamw", "muon"}), ("adamw", {"adamw"})])
def test_every_weight_has_exactly_one_optimizer(model: WorldModel, name: str, kinds: set[str]) -> None:
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
