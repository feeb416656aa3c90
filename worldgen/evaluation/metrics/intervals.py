"""Means over scenes with bootstrap intervals."""

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Float

RESAMPLES = 1000


def interval(per_scene: Float[Tensor, "scenes"], seed: int = 0) -> dict[str, float | int | None]:
    """The mean over scenes and its 95% interval: the percentile bootstrap (Efron 1979) of 1000 resamples of scenes.

    Scenes without a value (NaN: a mask was empty) are left out; `scenes` says how many count. A figure that is not
    finite is None, which JSON can hold.
    """
    values = per_scene.detach().cpu().double().numpy()
    values = values[~np.isnan(values)]
    count = len(values)
    if not count:
        return {"mean": None, "low": None, "high": None, "scenes": 0}
    resampled = values[np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))].mean(-1)
    low, high = np.quantile(resampled, [0.025, 0.975], method="nearest")
    numbers = {"mean": values.mean(), "low": low, "high": high}
    rounded = {name: round(float(number), 5) if np.isfinite(number) else None for name, number in numbers.items()}
    return {**rounded, "scenes": count}


def paired_difference(
    ours: Float[Tensor, "scenes"], theirs: Float[Tensor, "scenes"], seed: int = 0
) -> dict[str, float | int | None]:
    """The mean of `ours - theirs` scene by scene and its interval: what scenes have in common cancels, so it is
    narrower than the difference of two intervals. Without 0 in it, the difference holds beyond these scenes."""
    return interval(ours - theirs, seed)


def share_of_way(
    values: Float[Tensor, "scenes"], low: Float[Tensor, "scenes"], high: Float[Tensor, "scenes"], seed: int = 0
) -> dict[str, float | int | None]:
    """How far the mean of `values` is on the way from the mean of `low` (0) to that of `high` (1), with its interval:
    a ratio of means, resampled scene by scene. Scenes that lack any of the three are left out."""
    three = torch.stack([values, low, high]).detach().cpu().double().numpy()
    three = three[:, ~np.isnan(three).any(0)]
    count = three.shape[1]
    if not count or not np.isfinite(three).all():
        return {"mean": None, "low": None, "high": None, "scenes": count}
    index = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    resampled = three[:, index].mean(-1)
    shares = (resampled[0] - resampled[1]) / (resampled[2] - resampled[1])
    ends = np.quantile(shares, [0.025, 0.975], method="nearest")
    whole = three.mean(1)
    numbers = {"mean": (whole[0] - whole[1]) / (whole[2] - whole[1]), "low": ends[0], "high": ends[1]}
    rounded = {name: round(float(number), 5) if np.isfinite(number) else None for name, number in numbers.items()}
    return {**rounded, "scenes": count}
