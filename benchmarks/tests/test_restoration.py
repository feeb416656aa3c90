"""The table shows what was measured, and the verdict follows it."""

import pytest
import torch

from benchmarks.restoration import (
    EVERYTHING,
    MISSING,
    TASKS,
    Damaged,
    Outcome,
    biharmonic,
    half_the_pixels,
    held_out,
    neighbors,
    nonlocal_means,
    one_frame,
    smoothed,
    swept,
    table,
)
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import psnr
from worldgen.runtime.rng import Stream, stream
from worldgen.sampling.restoration import LinearOperator


@pytest.fixture(scope="module")
def truth() -> Clip:
    return held_out(1, seed=1)[0]


def damaged(operator: LinearOperator, rgb: torch.Tensor, truth: Clip | None = None, noise: float = 0.0) -> Damaged:
    cameras = truth.cameras if truth is not None else held_out(1, seed=1)[0].cameras
    return Damaged(operator, operator.apply(rgb), rgb if truth is None else truth.rgb, cameras, noise)


def outcome(number: int, gain: list[float], residual: float = 0.0) -> Outcome:
    task = TASKS[number]
    theirs = {name: [20.0] * len(gain) for name in task.baselines}
    return Outcome(task, [20 + value for value in gain], theirs, residual)


def test_only_gains_whose_interval_is_above_0_and_small_residuals_hold() -> None:
    sure, unsure = [1.0, 1.2, 0.9, 1.1], [1.0, -1.2, 0.9, -0.3]
    found, misses = table([outcome(0, sure, 2e-4)])
    lines = found.markdown()
    assert not misses and "| super-resolution 2x | bicubic | 20.00 | 21.05 | +1.05 [" in lines
    assert lines.endswith("| 2e-04 |")
    assert table([outcome(0, sure), outcome(1, unsure)])[1]
    assert table([outcome(0, sure, 2e-3)])[1]
    assert not TASKS[-1].claimed and not table([outcome(0, sure), outcome(len(TASKS) - 1, unsure)])[1]


def test_a_missing_frame_is_blended_from_both_sides() -> None:
    rgb, operator = torch.rand(4, 3, 64, 64), one_frame(stream(Stream.SAMPLING, 0))
    blended = neighbors(damaged(operator, rgb))
    assert torch.allclose(blended[MISSING], (rgb[MISSING - 1] + rgb[MISSING + 1]) / 2)
    others = [frame for frame in range(4) if frame != MISSING]
    assert torch.equal(blended[others], rgb[others])


def test_the_best_answers_without_learning_beat_the_plain_ones(truth: Clip) -> None:
    half = damaged(half_the_pixels(stream(Stream.SAMPLING, 0)), truth.rgb)
    plain = half.operator.guess(half.measured)
    smooth = biharmonic(half)
    assert torch.equal(half.operator.apply(smooth), half.measured)
    assert float((psnr(smooth, truth.rgb) - psnr(plain, truth.rgb)).mean()) > 3
    one = damaged(one_frame(stream(Stream.SAMPLING, 0)), truth.rgb, truth)
    gain = psnr(swept(one), truth.rgb)[MISSING] - psnr(neighbors(one), truth.rgb)[MISSING]
    assert float(gain) > 2 and torch.equal(swept(one)[0], truth.rgb[0])
    noised = truth.rgb + 0.05 * torch.randn(truth.rgb.shape, generator=torch.Generator().manual_seed(0))
    noisy = damaged(EVERYTHING, noised, truth, 0.05)
    assert float((psnr(nonlocal_means(noisy), truth.rgb) - psnr(smoothed(noisy), truth.rgb)).mean()) > 1
