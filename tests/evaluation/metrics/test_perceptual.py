"""Sharpness and FLIP, where what they must say is known."""

import importlib
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.evaluation.enlarging import enlarged_rgb
from worldgen.evaluation.metrics.perceptual import flip_error, has_flip, sharpness
from worldgen.evaluation.metrics.pose import blurred
from worldgen.evaluation.run import evaluate
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling

STAND_IN = """
def evaluate(
    reference, test, dynamicRangeString, inputsRGB=True, applyMagma=True, computeMeanError=True, parameters={}
):
    assert dynamicRangeString == "LDR" and inputsRGB and computeMeanError and not applyMagma and not parameters
    assert reference.dtype == "float32" and reference.shape == test.shape and reference.shape[-1] == 3
    assert test.min() >= 0 and test.max() <= 1
    error = abs(reference - test).max(-1, keepdims=True) + (reference[0, 0, 0] == 0.25) / 2
    return error, float(error.mean()), {"ppd": 67.0}
"""


@pytest.fixture(scope="module")
def true() -> Tensor:
    """Images [2, 2, 3, 64, 64] of two tabletops."""
    return OrbitSet("tabletop", 0, 2, 64, 2, (1,), 1, {"narrow": 14.0}).clip("narrow").rgb


def test_the_truth_is_as_sharp_as_itself_and_blur_less_and_less(true: Tensor) -> None:
    assert torch.equal(sharpness(true, true), torch.ones(2))
    blurs = [float(sharpness(blurred(true, sigma_px), true).mean()) for sigma_px in (0.5, 1.0, 2.0, 4.0)]
    assert blurs == sorted(blurs, reverse=True) and 0.4 < blurs[0] < 0.8 and blurs[1] < 0.3 and blurs[3] < 0.02
    assert float(sharpness(true.mean((-2, -1), keepdim=True).expand_as(true), true).max()) < 1e-6


def test_noise_has_more_detail_than_the_truth_and_a_shift_as_much(true: Tensor) -> None:
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    noisy = [float(sharpness(true + sigma * noise, true).min()) for sigma in (0.02, 0.1)]
    assert 1.1 < noisy[0] < noisy[1]
    shifted = sharpness(true[..., 1:], true[..., :-1])
    assert torch.allclose(shifted, torch.ones(2), atol=0.06), shifted


def test_contrast_counts_squared_and_brightness_not_at_all(true: Tensor) -> None:
    assert torch.allclose(sharpness(0.5 * true + 0.3, true), torch.full((2,), 0.25), atol=1e-3)


@pytest.mark.parametrize(("factor", "low", "high"), [(2, 0.5, 0.7), (4, 0.4, 0.6)])
def test_an_enlarged_image_lacks_what_its_size_cannot_hold(factor: int, low: float, high: float) -> None:
    size = 64 * factor
    large = OrbitSet("tabletop", 0, 2, size, 2, (1,), 1, {"narrow": 14.0}).clip("narrow").rgb
    small = torch.nn.functional.avg_pool2d(large.flatten(0, 1), factor).view(2, 2, 3, 64, 64)
    found = sharpness(enlarged_rgb(small, (size, size)), large)
    assert bool(((found > low) & (found < high)).all()), found
    assert torch.allclose(
        sharpness(blurred(large, float(factor)), large), sharpness(blurred(small, 1.0), small), atol=0.12
    )


def test_what_stands_outside_the_mask_or_at_its_border_makes_no_difference(true: Tensor) -> None:
    mask = torch.zeros(2, 2, 1, 64, 64, dtype=torch.bool)
    mask[..., 10:50, 5:40] = True
    mask[..., 20:30, 20:30] = False
    inner = mask.clone()
    inner[..., [10, 49], :] = inner[..., [5, 39]] = inner[..., 19:31, 19:31] = False
    other = torch.where(inner, blurred(true, 0.5), 0.2 * (~mask) + 0.7 * (mask & ~inner))
    jagged = torch.where(inner, true, (torch.arange(64) % 2).float())
    hole = torch.where(mask, true, math.nan)
    usual = sharpness(blurred(true, 0.5), true, mask)
    assert torch.equal(sharpness(other, true, mask), usual)
    assert torch.equal(sharpness(other, jagged, mask), usual)
    assert torch.equal(sharpness(jagged, true, mask), torch.ones(2))
    assert torch.equal(sharpness(true, hole, mask), torch.ones(2))
    assert not torch.allclose(usual, sharpness(blurred(true, 0.5), true), atol=1e-3)


def test_a_full_mask_is_no_mask_and_nothing_to_compare_is_no_figure(true: Tensor) -> None:
    full = torch.ones_like(true[:, :, :1], dtype=torch.bool)
    half = blurred(true, 0.7)
    assert torch.equal(sharpness(half, true, full), sharpness(half, true))
    assert sharpness(half, true, ~full).isnan().all()
    dither = 2e-3 * (torch.rand(true.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    for flat in (torch.full_like(true, 0.7), 0.7 + dither):
        assert sharpness(true, flat, full).isnan().all() and sharpness(flat, flat).isnan().all()


def test_images_of_a_scene_are_pooled_and_scenes_are_not(true: Tensor) -> None:
    plain = torch.full_like(true[:1, :1], 0.5)
    both = torch.cat([true[:1, :1], plain], 1)
    assert torch.allclose(sharpness(torch.cat([blurred(true[:1, :1], 1.0), plain], 1), both),
                          sharpness(blurred(true[:1, :1], 1.0), true[:1, :1]))  # fmt: skip
    assert torch.equal(sharpness(torch.stack([true[0], 0 * true[1]]), true), torch.tensor([1.0, 0.0]))


def test_bytes_are_as_sharp_as_what_they_mean(true: Tensor) -> None:
    half = (blurred(true, 0.7) * 255).round().byte()
    assert torch.allclose(sharpness(half, true), sharpness(half / 255, true), atol=1e-5)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the place of FLIP's that has its signature and checks what it is given."""
    (tmp_path / "flip_evaluator.py").write_text(STAND_IN)
    monkeypatch.delitem(sys.modules, "flip_evaluator", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()


def test_flip_is_given_each_pair_as_its_authors_document(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_flip()
    true = torch.full((2, 3, 3, 8, 9), 0.5)
    true[1] = 0.25  # the stand-in adds a half where its first argument, the reference, is of this color
    off = torch.tensor([[0.0, 0.125, 0.25], [0.0, 0.25, 4.0]])
    found = flip_error(true + off[..., None, None, None], true)
    assert torch.allclose(found, torch.tensor([[0.0, 0.125, 0.25], [0.5, 0.75, 1.25]]), atol=1e-6)
    assert flip_error(true[0, 0], true[0, 0]).shape == ()


def test_without_flip_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    assert not has_flip()
    with pytest.raises(InputError, match=r"FLIP cannot be loaded; expected pip install 'worldgen\[evaluate\]'"):
        flip_error(torch.rand(3, 8, 8), torch.rand(3, 8, 8))


@pytest.mark.parametrize("installed", [True, False])
def test_flip_is_a_column_where_it_is_installed(
    installed: bool, stand_in: None, tmp_path: Path, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    small = OrbitSet("tabletop", 0, 2, 16, 1, (1,), 2, {"narrow": 14.0})
    report = evaluate(small, model, Sampling(steps=1), output=tmp_path / "out")
    methods = report.part("narrow").given[1].methods
    assert {name for name, figures in methods.items() if "flip" in figures} == (
        set(methods) - {"constant depth", "row depth"} if installed else set()
    )
    assert ("| FLIP |" in (tmp_path / "out" / "report.md").read_text("utf-8")) == installed


def test_real_flip_orders_distortions(true: Tensor) -> None:
    pytest.importorskip("flip_evaluator")
    assert torch.equal(flip_error(true, true), torch.zeros(2, 2))
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    for distorted in (
        [blurred(true, sigma) for sigma in (0.5, 1.0, 3.0)],
        [true + 0.02 * noise, true + 0.1 * noise, 1 - true],
        [true + shift for shift in (0.01, 0.05, 0.2)],
    ):
        errors = [float(flip_error(image, true).mean()) for image in distorted]
        assert errors == sorted(errors) and errors[0] > 0 and errors[-1] < 1, errors
