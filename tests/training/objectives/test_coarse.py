"""Coarse clips that a second stage is trained on: those of its first stage, degraded ones, and none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.network.unet.small import small_model
from tests.models.tiny import awake, tiny_model
from worldgen.core.clip import Clip
from worldgen.core.modalities import MODALITIES, stacked_signals
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import generate
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.training.batches.batch import Batch
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks, draw_tasks
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.objectives.coarse import coarse_signals
from worldgen.training.objectives.inputs import network_inputs


@pytest.fixture
def model() -> WorldModel:
    first = WorldModel.create(tiny_model()).training(False)
    awake(first.network, 0.12)
    return WorldModel.create(small_model(coarse="first"), coarse=first)


@pytest.fixture(scope="module")
def footage() -> dict[int, Clip]:
    return {}


def clip_of(run_of: Callable[..., Any], size_px: int, footage: dict[int, Clip]) -> Clip:
    """Two clips of three frames."""
    if size_px not in footage:
        run = run_of(frames=(3,))
        run = replace(run, model=replace(run.model, size_px=size_px))
        footage[size_px] = SceneStream(run, torch.device("cpu")).footage(0).clip
    return footage[size_px]


def batch_of(clip: Clip, share: float | list[float] = 0.5, degraded: float = 0.15, no_coarse: float = 0.1) -> Batch:
    """The first frame given, with its depth in the second clip; `share` decides what is made of each."""
    level = torch.ones(2, 3, 2)
    level[:, 0, 0], level[1, 0, 1] = 0, 0
    yes, degrading = torch.tensor([True, True]), torch.rand(2, 5, generator=torch.Generator().manual_seed(1))
    degrading[:, 0] = torch.tensor(share)
    tasks = Tasks(torch.arange(3).expand(2, 3), level, torch.zeros(2, 3).long(), yes, yes, ~yes, degrading)
    noise = torch.randn(2, 3, 4, *clip.cameras.hw, generator=torch.Generator().manual_seed(2))
    return Batch(clip, ("", ""), tasks, noise, torch.tensor([0.95, 1.05]), None, degraded, no_coarse)


def signals(model: WorldModel, batch: Batch) -> Tensor:
    return coarse_signals(model, batch, batch.normalization(), batch.tasks.level)


def generated(model: WorldModel, batch: Batch, hw: tuple[int, int], monkeypatch: Any, **options: Any) -> Tensor:
    """What `generate` makes of the same tasks in one step from the same noise, as signals, clip by clip."""
    first, normalization = model.coarse, batch.normalization()
    assert first is not None
    step = batch.noise.shape[-1] // hw[1]
    noise = batch.noise[..., ::step, ::step][..., : hw[0], : hw[1]]
    folded = first.codec.encode({"rgb": MODALITIES["rgb"].unsigned(noise[:, :, :3]), "depth": noise[:, :, 3:]})
    made = []
    for clip in range(2):
        one = slice(clip, clip + 1)
        monkeypatch.setattr(KeyedNoise, "start", lambda _, part=folded[one]: part)
        levels = Levels.given(batch.tasks.level[clip] == 0, 1)
        order = {"order": options["order"][one]} if "order" in options else {}
        small = batch.clip[one].shrunk(hw)
        found = generate(first, small, levels, scale=normalization.scale[one], **order)
        made.append(stacked_signals(found, normalization[one], ("rgb", "depth")))
    return torch.cat(made)


@pytest.mark.parametrize("size_px", [16, 48, 32])
def test_the_first_stage_s_clips_are_one_call_of_it_on_the_same_task(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip], size_px: int, monkeypatch: Any
) -> None:
    batch = batch_of(clip_of(run_of, size_px, footage))
    found = signals(model, batch)
    assert found.shape == (2, 3, 4, 16, 16)
    torch.testing.assert_close(found, generated(model, batch, (16, 16), monkeypatch), atol=2e-4, rtol=1e-3)
    truth = stacked_signals(batch.clip.shrunk((16, 16)), batch.normalization(), ("rgb", "depth"))
    torch.testing.assert_close(found[:, 0, :3], truth[:, 0, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1, 0, 3], truth[1, 0, 3], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[0, 0, 3], truth[0, 0, 3], atol=0.05), "its depth was not given"


def test_the_order_of_frames_is_the_first_stage_s_too(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip], monkeypatch: Any
) -> None:
    batch, order = batch_of(clip_of(run_of, 16, footage)), torch.tensor([[0, 1, 2], [0, 0, 1]])
    ordered = replace(batch, tasks=replace(batch.tasks, order=order))
    expected = generated(model, ordered, (16, 16), monkeypatch, order=order)
    torch.testing.assert_close(signals(model, ordered), expected, atol=2e-4, rtol=1e-3)
    assert not torch.allclose(signals(model, batch), signals(model, ordered), atol=1e-2)


def test_cameras_that_are_dropped_are_unknown_to_the_first_stage(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    batch = batch_of(clip_of(run_of, 16, footage))
    dropped = replace(batch, tasks=replace(batch.tasks, cameras_known=torch.tensor([False, True])))
    one, other = signals(model, batch), signals(model, dropped)
    assert torch.equal(one[1], other[1]) and not torch.allclose(one[0], other[0], atol=1e-2)


def test_what_is_not_given_is_not_told(model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]) -> None:
    """At level 1, and at the levels between."""
    clip = clip_of(run_of, 16, footage)
    batch = batch_of(clip)
    rgb, depth = clip.rgb.clone(), clip.depth.clone()
    rgb[:, 1:], depth[:, 1:] = 0.5, 2.0
    depth[0, 0] = 3.0
    batch.tasks.level[:, 2] = 0.3
    normalization = batch.normalization()
    other = replace(batch, clip=replace(clip, rgb=rgb, depth=depth))
    one, two = (coarse_signals(model, b, normalization, b.tasks.level) for b in (batch, other))
    assert torch.equal(one, two)


def test_sizes_of_the_first_stage_s_clips(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    """Its own, the clip's where that is smaller, and long ones in proportion."""
    clip = clip_of(run_of, 48, footage)
    for hw, found in (((48, 48), (16, 16)), ((16, 48), (16, 48)), ((48, 32), (24, 16)), ((8, 8), (8, 8))):
        made = signals(model, batch_of(clip.shrunk(hw)))
        assert made.shape == (2, 3, 4, *found) and bool(made.isfinite().all())


def test_128_px_clips_have_what_a_first_stage_of_64_px_makes(
    run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    model = WorldModel.create(small_model(coarse="tiny"))
    clip = clip_of(run_of, 32, footage)
    rgb, depth = (torch.nn.functional.interpolate(m.flatten(0, 1), (128, 128)) for m in (clip.rgb, clip.depth))
    large = Clip(rgb.unflatten(0, (2, 3)), depth.unflatten(0, (2, 3)), clip.cameras.resized((128, 128)))
    made = signals(model, batch_of(large))
    assert made.shape == (2, 3, 4, 64, 64)
    assert bool((made[:, :, :3].abs() <= 1).all()), "colors of clips, as a sample's are"


def test_the_clip_s_own_number_decides_what_is_made_of_it(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    clip = clip_of(run_of, 16, footage)
    truth = stacked_signals(clip, batch_of(clip).normalization(), ("rgb", "depth"))
    made = signals(model, batch_of(clip, 0.9))
    for share, kind in ((0.29, "degraded"), (0.31, "none"), (0.49, "none"), (0.51, "made")):
        found = signals(model, batch_of(clip, [0.9, share], 0.3, 0.2))
        assert torch.equal(found[0], made[0]), "the other clip's does not matter"
        if kind == "none":
            assert bool(found[1].isnan().all())
        elif kind == "made":
            assert torch.equal(found[1], made[1])
        else:
            error = (found[1] - truth[1]).abs().mean()
            assert bool(found[1].isfinite().all()) and 1e-4 < error < (made[1] - truth[1]).abs().mean()


def test_shares_of_0_and_1(model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]) -> None:
    clip = clip_of(run_of, 16, footage)
    assert bool(signals(model, batch_of(clip, [0.0, 0.999], 0.0, 1.0)).isnan().all())
    assert bool(signals(model, batch_of(clip, [0.0, 0.999], 0.0, 0.0)).isfinite().all())
    degraded = signals(model, batch_of(clip, [0.0, 0.999], 1.0, 0.0))
    assert not torch.allclose(degraded, signals(model, batch_of(clip, [0.0, 0.999], 0.0, 0.0)))


def test_degrading_blurs_and_moves_depth_as_much_as_it_is_drawn(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    clip = clip_of(run_of, 16, footage)
    truth = stacked_signals(clip, batch_of(clip).normalization(), ("rgb", "depth"))

    def drawn(blur: float, wrong: float) -> Tensor:
        batch = batch_of(clip, 0.0, 1.0, 0.0)
        batch.tasks.degrading[:, 1:3] = torch.tensor([blur, wrong])
        return signals(model, batch)

    torch.testing.assert_close(drawn(0.0, 0.0), truth, atol=1e-6, rtol=0)
    contrast = [float(drawn(blur, 0.0)[:, :, :3].std((-2, -1)).mean()) for blur in (0.1, 0.3, 0.6, 0.9)]
    assert contrast == sorted(contrast, reverse=True) and contrast[3] < 0.8 * contrast[0]
    off = [(drawn(0.0, wrong)[:, :, 3] + 1) / (truth[:, :, 3] + 1).clamp_min(1e-6) for wrong in (0.5, 1.0)]
    assert torch.equal(drawn(0.0, 1.0)[:, :, :3], truth[:, :, :3])
    near = truth[:, :, 3] > -0.9
    spread = [float((ratio[near] - 1).abs().mean()) for ratio in off]
    assert 0.02 < spread[0] < spread[1] < 0.6
    steps = off[1].diff(dim=-1).abs()[near[..., 1:] & near[..., :-1]]
    assert steps.max() < 0.5 * (off[1][near].max() - off[1][near].min()), "errors vary smoothly"


def test_the_sky_stays_infinitely_far(model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]) -> None:
    clip = clip_of(run_of, 16, footage)
    sky = replace(clip, depth=torch.full_like(clip.depth, torch.inf))
    batch = batch_of(sky, 0.0, 1.0, 0.0)
    batch = replace(batch, tasks=batch.tasks)
    found = coarse_signals(model, batch, batch_of(clip).normalization(), batch.tasks.level)
    torch.testing.assert_close(found[:, :, 3], torch.full_like(found[:, :, 3], -1.0))


def test_the_same_batch_has_the_same_coarse_clips_and_clips_stand_alone(
    model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]
) -> None:
    for share in (0.1, 0.9):
        batch = batch_of(clip_of(run_of, 16, footage), share)
        whole = signals(model, batch)
        assert torch.equal(signals(model, batch), whole)
        halves = [signals(model, batch[torch.tensor([i])]) for i in range(2)]
        torch.testing.assert_close(torch.cat(halves), whole, atol=1e-5, rtol=1e-5)
    assert not whole.requires_grad


def test_the_network_is_given_them(model: WorldModel, run_of: Callable[..., Any], footage: dict[int, Clip]) -> None:
    batch = batch_of(clip_of(run_of, 16, footage), [0.9, 0.2])
    inputs = network_inputs(model, batch, batch.tasks.level)
    assert inputs.conditioning.coarse is not None
    assert torch.equal(inputs.conditioning.coarse.nan_to_num(9), signals(model, batch).nan_to_num(9))


def test_numbers_for_degrading_are_drawn_last_and_by_the_clip() -> None:
    """What was drawn before there was a second stage stays what it was."""
    import numpy as np

    tasks = draw_tasks(TaskConfig(), 64, 3, 4, ("rgb", "depth"), np.random.default_rng(0))
    assert tasks.degrading.shape == (64, 5) and bool(((tasks.degrading >= 0) & (tasks.degrading < 1)).all())
    draw = np.random.default_rng(0)
    again = draw_tasks(TaskConfig(), 64, 3, 4, ("rgb", "depth"), draw)
    assert torch.equal(again.degrading, tasks.degrading)
    assert abs(float(tasks.degrading[:, 0].mean()) - 0.5) < 0.15
    assert torch.equal(tasks[torch.tensor([3, 5])].degrading, tasks.degrading[[3, 5]])
