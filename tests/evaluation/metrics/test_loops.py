"""Closed loops: where the cameras stand, what a view is made from, and what coming back is worth."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from tests.models.tiny import awake, tiny_model
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics import loops
from worldgen.evaluation.metrics.control import RenderedScenes
from worldgen.evaluation.metrics.intervals import Figure, Interval
from worldgen.evaluation.metrics.loops import (
    ONE_BY_ONE,
    STEPS,
    TOGETHER,
    _figures,
    closed_loop,
    loop_figures,
    loop_steps,
    once_round,
)
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.scenes.families.tabletop import tabletop


@pytest.fixture
def model() -> WorldModel:
    """A random model of 3 frames of 16 pixels."""
    model = WorldModel.create(tiny_model())
    awake(model.network)
    return model


def start(count: int = 2) -> Cameras:
    eyes = torch.tensor([[3.0, 0.5, 1.5], [-1.0, 2.5, 1.0]])[:count]
    return Cameras.from_fov(look_at(eyes, torch.tensor([0.0, 0.0, 0.2])), 50.0, (16, 16))


def mean(figure: Figure) -> float | None:
    """The mean of a figure over scenes."""
    assert isinstance(figure, Interval)
    return figure.mean


def test_a_loop_is_even_stays_level_and_ends_exactly_where_it_began() -> None:
    cameras = closed_loop(start(), 8)
    assert cameras.shape == (2, 9)
    assert torch.equal(cameras.world_from_camera[:, -1], cameras.world_from_camera[:, 0])
    assert torch.allclose(cameras.centers[..., 2], cameras.centers[:, :1, 2].expand(-1, 9))
    angle = torch.atan2(cameras.centers[..., 1], cameras.centers[..., 0])
    turn = (angle[:, 1:] - angle[:, :-1] + 2 * math.pi) % (2 * math.pi)
    assert torch.allclose(turn, torch.full((2, 8), math.pi / 4), atol=1e-4)


def test_view_by_view_only_the_last_ones_are_given(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[int], torch.Tensor]] = []

    def numbered(
        _: WorldModel, known: Clip, targets: Cameras, scale: torch.Tensor, sampling: Sampling, ids, step
    ) -> Clip:
        seen.append((ids, known.rgb[0, :, 0, 0, 0]))
        new = torch.full((2, targets.shape[1], 3, 16, 16), ids[-1] / 10)
        rgb = torch.cat([known.rgb, new], 1)
        return Clip(rgb, torch.ones_like(rgb[:, :, :1]), Cameras.cat([known.cameras, targets]))

    monkeypatch.setattr(loops, "generate_views", numbered)
    cameras = closed_loop(start(), 5)
    rgb = once_round(model, torch.zeros(2, 1, 3, 16, 16), cameras, 2, Sampling(steps=1))
    assert [ids for ids, _ in seen] == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    for ids, known in seen:
        assert torch.allclose(known, torch.tensor(ids[:-1]) / 10)
    assert torch.allclose(rgb[0, :, 0, 0, 0], torch.arange(1, 6) / 10)
    seen.clear()
    once_round(model, torch.zeros(2, 1, 3, 16, 16), cameras, None, Sampling(steps=1))
    assert [ids for ids, _ in seen] == [[0, 1, 2, 3, 4, 5]]


def test_a_copy_comes_back_perfectly_and_is_wrong_half_way(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(
        _: WorldModel, known: Clip, targets: Cameras, scale: torch.Tensor, sampling: Sampling, ids, step
    ) -> Clip:
        for _step in range(sampling.steps):
            step()
        rgb = torch.cat([known.rgb, known.rgb[:, -1:].expand(-1, targets.shape[1], -1, -1, -1)], 1)
        return Clip(rgb, torch.ones_like(rgb[:, :, :1]), Cameras.cat([known.cameras, targets]))

    monkeypatch.setattr(loops, "generate_views", copied)
    scenes = RenderedScenes(tabletop(0, [0, 1], held_out=True), 1)
    done: list[None] = []
    methods = {"copy": (model, Sampling(steps=2))}
    found = loop_figures(methods, scenes, start(), 0, lambda: done.append(None))
    assert len(done) == loop_steps(methods) == 2 * (1 + STEPS)
    for how in (TOGETHER, ONE_BY_ONE):
        copy = found.methods[how]["copy"]
        assert mean(copy["revisit_ssim"]) == pytest.approx(1, abs=1e-4)
        assert mean(copy["revisit_psnr"]) is None  # without error, PSNR has no number
        half = mean(copy["psnr_half"])
        assert half is not None and half < 25
        assert set(found.methods[how]) == {"copy", "mean color", "row mean"}
    assert found.sheet.shape[0] == 3


def test_a_real_model_goes_round(model: WorldModel) -> None:
    scenes = RenderedScenes(tabletop(0, [0], held_out=True), 1)
    found = loop_figures({"one call": (model, Sampling(steps=1, guidance=1.0))}, scenes, start(1), 0)
    figure = found.methods[ONE_BY_ONE]["one call"]["revisit_psnr"]
    assert isinstance(figure, Interval) and figure.scenes == 1


@pytest.mark.parametrize("views", [8, STEPS])
def test_the_views_a_quarter_and_half_way_round_are_those_that_are_judged(views: int) -> None:
    """Images are off by 0.1, but the one that stands at 90 degrees by 0.01 and that at 180 by 0.05."""
    cameras = closed_loop(start(1), views)
    at = torch.rad2deg(torch.atan2(cameras.centers[0, :, 1], cameras.centers[0, :, 0]))
    turned = torch.remainder(at - at[0], 360)
    quarter, half = (int((turned[1:-1] - angle).abs().argmin()) for angle in (90, 180))
    truth = torch.rand(1, views, 3, 16, 16) / 2
    rgb = truth + 0.1
    rgb[:, quarter], rgb[:, half] = truth[:, quarter] + 0.01, truth[:, half] + 0.05
    figures = _figures(rgb, truth, truth[:, -1], 0)
    assert mean(figures["psnr_quarter"]) == pytest.approx(40, abs=1e-2)
    assert mean(figures["psnr_half"]) == pytest.approx(26.02, abs=1e-2)
    assert mean(figures["revisit_psnr"]) == pytest.approx(20, abs=1e-2)
