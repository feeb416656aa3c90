"""Means over scenes with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Float

RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A mean over scenes and its 95% interval; None where a number is not finite or no scene has a value.

    Attributes:
        mean: Over the scenes.
        low: The interval's lower end.
        high: The interval's upper end.
        scenes: The number of scenes that have a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    scenes: int


Figure = Interval | float
Figures = dict[str, Figure]  # of one method, by name of the figure


def interval(per_scene: Float[Tensor, "scenes"], seed: int = 0) -> Interval:
    """The mean over scenes and its 95% interval: the percentile bootstrap (Efron 1979) of 1000 resamples of scenes.

    Args:
        per_scene: A value for each scene; scenes without one (NaN: a mask was empty) are left out.
        seed: Of the resamples.

    Returns:
        The interval, rounded to five decimals.
    """
    values = per_scene.detach().cpu().double().numpy()
    values = values[~np.isnan(values)]
    count = len(values)
    if not count:
        return Interval(None, None, None, 0)
    resampled = values[np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))].mean(-1)
    return _rounded(values.mean(), resampled, count)


def paired_difference(ours: Float[Tensor, "scenes"], theirs: Float[Tensor, "scenes"], seed: int = 0) -> Interval:
    """The mean of `ours - theirs` scene by scene and its interval.

    What scenes have in common cancels, so it is narrower than the difference of two intervals. Without 0 in it, the
    difference holds beyond these scenes.

    Args:
        ours: A value for each scene; a scene that lacks either value (NaN) is left out.
        theirs: A value for each of the same scenes, in the same order.
        seed: Of the resamples.

    Returns:
        The interval of the differences, rounded to five decimals.
    """
    return interval(ours - theirs, seed)


def share_of_way(
    values: Float[Tensor, "scenes"], low: Float[Tensor, "scenes"], high: Float[Tensor, "scenes"], seed: int = 0
) -> Interval:
    """How far the mean of `values` is on the way from the mean of `low` (0) to that of `high` (1), with its interval:
    a ratio of means, resampled scene by scene. Scenes that lack any of the three are left out."""
    three = torch.stack([values, low, high]).detach().cpu().double().numpy()
    three = three[:, ~np.isnan(three).any(0)]
    count = three.shape[1]
    if not count or not np.isfinite(three).all():
        return Interval(None, None, None, count)
    index = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    resampled = three[:, index].mean(-1)
    shares = (resampled[0] - resampled[1]) / (resampled[2] - resampled[1])
    whole = three.mean(1)
    return _rounded((whole[0] - whole[1]) / (whole[2] - whole[1]), shares, count)


def _rounded(mean: float, resampled: np.ndarray, scenes: int) -> Interval:
    ends = np.quantile(resampled, [0.025, 0.975], method="nearest")
    middle, low, high = (round(float(x), 5) if np.isfinite(x) else None for x in (mean, *ends))
    return Interval(middle, low, high, scenes)
