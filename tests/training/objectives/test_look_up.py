"""The loss of a network that looks things up: what it counts, what it leaves out, and what costs the least."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.network.unet.small import small_model
from tests.models.tiny import awake
from worldgen.core.clip import Clip
from worldgen.models.network.unet.blending import Blend
from worldgen.models.network.unet.network import Details, MultiViewUNet
from worldgen.models.world_model import WorldModel
from worldgen.training.batches.batch import Batch
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.inputs import Prediction
from worldgen.training.objectives.look_up import LookUp, cross_entropy
from worldgen.training.objectives.term import Progress, TrainingStep
from worldgen.training.objectives.terms import TERMS, build_terms

NOISE = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> WorldModel:
    made = WorldModel.create(small_model())
    awake(made.network, 0.1).requires_grad_(True)
    return made


@pytest.fixture
def clip(run_of: Callable[..., Any]) -> Clip:
    return SceneStream(run_of(frames=(3,)), torch.device("cpu")).footage(0).clip


def task(rgb: tuple[float, ...], depth: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Tasks:
    """The same levels of three frames for two clips."""
    level = torch.stack([torch.tensor(rgb), torch.tensor(depth)], -1).float().repeat(2, 1, 1)
    yes = torch.tensor([True, True])
    return Tasks(torch.arange(3).expand(2, 3), level, torch.zeros(2, 3).long(), yes, yes, ~yes, torch.zeros(2, 5))


def step_of(model: WorldModel, clip: Clip, what: Tasks) -> TrainingStep:
    return TrainingStep(model, Batch(clip, ("", ""), what, NOISE, torch.ones(2)), Progress(), tap=0)


def predicting(model: WorldModel, step: TrainingStep, off: float = 0.0, **parts: Tensor) -> TrainingStep:
    """The step with the truth for its prediction, or what is `off` from it, and parts that leaves are given for."""
    truth = step.inputs.x0 + off
    inverse = truth[:, :, 3:] + 1
    assert isinstance(model.network, MultiViewUNet)
    planes = model.network.planes
    quarter = torch.nn.functional.avg_pool2d(inverse.flatten(0, 1), 4).unflatten(0, inverse.shape[:2])
    logits = -200 * (quarter - planes[:, None, None]).abs()
    found = {"x0": truth, "blended": truth[:, :, :3], "inverse": inverse, "logits": logits} | parts
    blend = Blend(found["blended"], found["blended"], torch.zeros_like(inverse))
    step.prediction = Prediction(found["x0"], Details(found["logits"], found["inverse"], blend))
    return step


def parts_of(step: TrainingStep, weight: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
    return LookUp(TrainConfig(depth_weight=weight))(step)


def test_the_truth_costs_nothing_but_the_entropy_of_planes(model: WorldModel, clip: Clip) -> None:
    step = step_of(model, clip, task((0, 1, 1)))
    total, parts = parts_of(predicting(model, step))
    assert parts["rgb"] == 0 and parts["depth"] < 1e-7 and parts["squared"] == 0
    assert float(total) == pytest.approx(0.05 * float(parts["planes"]), abs=1e-6)
    for off in (-0.3, 0.1):
        worse, others = parts_of(predicting(model, step, off))
        assert worse > total and others["planes"] > parts["planes"] and others["depth"] > 0.1


def test_errors_are_weighed_as_they_are_said_to_be(model: WorldModel, clip: Clip) -> None:
    """Of signals off by 0.2: colors by 0.1, absolute and four times squared, and a quarter of the blended ones."""
    step = predicting(model, step_of(model, clip, task((0, 1, 1))), 0.2)
    total, parts = parts_of(step, weight=3.0)
    assert float(parts["rgb"]) == pytest.approx(3 * (4 * 0.1**2 + 0.1 + 0.25 * 0.2) / 3, rel=1e-4)
    assert float(parts["depth"]) == pytest.approx(0.2 + 0.5 * 0.2, rel=1e-4)
    assert float(parts["squared"]) == pytest.approx(0.1**2, rel=1e-4)
    expected = parts["rgb"] + 3 * (parts["depth"] + 0.05 * parts["planes"])
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def leaf(like: Tensor) -> Tensor:
    return (like + 0.1).detach().requires_grad_(True)


def test_given_columns_have_no_gradient(model: WorldModel, clip: Clip) -> None:
    step = step_of(model, clip, task((0, 0.4, 1), (1, 0, 0.6)))
    truth = step.inputs.x0
    x0, blended = leaf(truth), leaf(truth[:, :, :3])
    parts_of(predicting(model, step, x0=x0, blended=blended))[0].backward()
    assert x0.grad is not None and blended.grad is not None
    assert not x0.grad[:, 0, :3].any() and not blended.grad[:, 0].any() and not x0.grad[:, 1, 3].any()
    assert bool((x0.grad[:, 1:, :3] != 0).all()) and bool((blended.grad[:, 1:] != 0).all())
    assert bool((x0.grad[:, [0, 2], 3] != 0).all())


def test_surfaces_are_learned_in_every_frame_whose_depth_is_known(model: WorldModel, clip: Clip) -> None:
    """Given frames are looked up in too: where their surfaces are counts."""
    depth = clip.depth.clone()
    depth[:, 2, :, :8] = 0
    step = step_of(model, replace(clip, depth=depth), task((0, 0, 1), (0, 1, 1)))
    truth = step.inputs.x0
    inverse, x0 = leaf(truth[:, :, 3:] + 1), leaf(truth)
    logits = torch.zeros(2, 3, model.network.config.planes, 4, 4, requires_grad=True)
    parts_of(predicting(model, step, inverse=inverse, x0=x0, logits=logits))[0].backward()
    assert inverse.grad is not None and x0.grad is not None and logits.grad is not None
    assert bool((inverse.grad[:, :2] != 0).all()) and bool((inverse.grad[:, 2, :, 8:] != 0).all())
    unknown = (inverse.grad[:, 2, :, :8], x0.grad[:, 2, 3, :8], logits.grad[:, 2, :, :2])
    assert not any(bool(part.any()) for part in unknown)
    assert bool(logits.grad[:, 2, :, 2:].any()) and bool(logits.grad[:, 0].any())


def test_a_batch_without_any_depth_costs_its_colors_alone(model: WorldModel, clip: Clip) -> None:
    none = replace(clip, depth=torch.zeros_like(clip.depth))
    total, parts = parts_of(predicting(model, step_of(model, none, task((0, 1, 1))), 0.2))
    assert parts["depth"] == 0 and parts["planes"] == 0 and total == parts["rgb"] > 0


def test_cross_entropy_is_the_entropy_at_the_true_distribution() -> None:
    """A coarse pixel over an edge: a quarter of it at the second plane, the rest half way from the third to the last
    but one."""
    planes = torch.linspace(0, 2, 5)
    inverse = torch.full((1, 1, 1, 4, 4), 1.25)
    inverse[..., 0, :] = 0.5
    share = torch.tensor([1e-12, 0.25, 0.375, 0.375, 1e-12])
    logits = share.log().view(1, 1, 5, 1, 1)
    entropy, counted = cross_entropy(logits, inverse, torch.ones_like(inverse), planes)
    known = share[1:4]
    assert counted.item() == 1 and entropy.item() == pytest.approx(float(-(known * known.log()).sum()), rel=1e-4)
    for other in (torch.zeros(5), torch.tensor([0, 1, 0, 0, 0.0])):
        worse, _ = cross_entropy(other.view(1, 1, 5, 1, 1), inverse, torch.ones_like(inverse), planes)
        assert worse > entropy


def test_cross_entropy_of_a_small_case_by_hand() -> None:
    """Two coarse pixels of 2 x 2, of which the second has one known depth, beyond the last plane."""
    planes = torch.tensor([0.0, 1.0, 2.0])
    inverse = torch.zeros(1, 1, 1, 2, 4)
    inverse[0, 0, 0] = torch.tensor([[0.0, 0.5, 9.0, 9.0], [1.0, 1.75, 9.0, 9.0]])
    known = torch.zeros_like(inverse)
    known[..., :2], known[..., 1, 3] = 1, 1
    logits = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]).view(1, 1, 3, 1, 2)
    found, counted = cross_entropy(logits, inverse, known, planes)
    first, second = logits[0, 0, :, 0].log_softmax(0).unbind(1)
    by_pixel = [first[0], (first[0] + first[1]) / 2, first[1], 0.25 * first[1] + 0.75 * first[2]]
    assert found[0, 0, 0, 0, 0].item() == pytest.approx(-float(sum(by_pixel)) / 4, rel=1e-5)
    assert found[0, 0, 0, 0, 1].item() == pytest.approx(-float(second[2]), rel=2e-3)
    assert counted.flatten().tolist() == [1.0, 0.25]


def test_the_step_is_tapped_for_the_details_and_has_gradients_everywhere(model: WorldModel, clip: Clip) -> None:
    term = LookUp(TrainConfig())
    assert term.tap(Progress(7, 9)) is not None
    cameras = replace(clip.cameras, view=torch.zeros(2, 3).long(), time_s=torch.arange(3.0).expand(2, 3))
    moving = replace(clip, cameras=cameras)
    total, parts = term(step_of(model, moving, task((0, 0.5, 1), (1, 0.5, 1))))
    total.backward()
    assert set(parts) == {"rgb", "depth", "planes", "squared"} and all(bool(part.isfinite()) for part in parts.values())
    assert [name for name, p in model.network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_each_clip_counts_the_same_so_halves_of_a_batch_average_to_the_whole(model: WorldModel, clip: Clip) -> None:
    depth = clip.depth.clone()
    depth[0, :, :, :5] = 0
    clip = replace(clip, depth=depth)
    level = torch.tensor([[[0.0, 1], [1, 1], [1, 0.3]], [[0.0, 0], [0, 1], [0.7, 1]]])
    what = replace(task((0, 0, 0)), level=level)
    term, batch = LookUp(TrainConfig()), Batch(clip, ("", ""), what, NOISE, torch.ones(2))
    whole, parts = term(TrainingStep(model, batch, Progress(), tap=0))
    halves = [term(TrainingStep(model, batch[torch.tensor([i])], Progress(), tap=0)) for i in range(2)]
    assert float(sum(half for half, _ in halves) / 2) == pytest.approx(float(whole), rel=1e-5)
    for name, part in parts.items():
        assert float(sum(half[name] for _, half in halves) / 2) == pytest.approx(float(part), rel=1e-4), name


def test_half_precision_is_a_rounding(model: WorldModel, clip: Clip) -> None:
    batch = Batch(clip, ("", ""), task((0, 0.5, 1)), NOISE, torch.ones(2))
    full, half = (
        float(LookUp(TrainConfig())(TrainingStep(model, batch, Progress(), p, 0))[0]) for p in ("fp32", "bf16")
    )
    assert full != half and half == pytest.approx(full, rel=0.03)


def test_a_unet_s_run_has_this_term_in_place_of_denoising(run_of: Callable[..., Any], model: WorldModel) -> None:
    run = run_of(frames=(3,))
    assert list(build_terms(model, replace(run, model=small_model()))) == ["look-up"]
    assert not TERMS["look-up"].applies(run) and TERMS["denoising"].applies(run)
