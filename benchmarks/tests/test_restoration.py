"""The table shows what was measured, and the verdict follows it."""

import torch

from benchmarks.restoration import MISSING, TASKS, Outcome, neighbors, one_frame, table
from worldgen.runtime.rng import Stream, stream


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
    blended = neighbors(operator, operator.apply(rgb), rgb)
    assert torch.allclose(blended[MISSING], (rgb[MISSING - 1] + rgb[MISSING + 1]) / 2)
    others = [frame for frame in range(4) if frame != MISSING]
    assert torch.equal(blended[others], rgb[others])
