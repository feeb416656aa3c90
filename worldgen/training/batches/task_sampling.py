"""Task sampling: at which levels a training clip is noised, in which order its frames come, and what is dropped.

The mixture decides which modes the model is good at.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Bool, Float, Int
from geometry.values import as_value
from worldgen.core.modalities import column
from worldgen.training.config.tasks import PATTERNS, TaskConfig


@as_value
@dataclass(frozen=True)
class Tasks:
    """The tasks that the clips of a batch are trained for.

    frames         [b, f] which of the rendered views they are made of
    level          [b, f, m]
    order          [b, f] as in `Conditioning.order`; all 0 where every frame attends to every other
    degrading      [b, 5] uniform numbers by which a second stage's coarse clip is chosen and degraded
    cameras_known, text_known, memory  [b] whether cameras, text and a memory render are given
    """

    frames: Int[Tensor, "b f"]
    level: Float[Tensor, "b f m"]
    order: Int[Tensor, "b f"]
    cameras_known: Bool[Tensor, "b"]
    text_known: Bool[Tensor, "b"]
    memory: Bool[Tensor, "b"]
    degrading: Float[Tensor, "b 5"]

    def __getitem__(self, clips: slice | Tensor) -> "Tasks":
        """The tasks of some of the clips."""
        return Tasks(*(value[clips] for value in vars(self).values()))

    def to(self, device: torch.device) -> "Tasks":
        """The same on another device."""
        return Tasks(*(value.to(device) for value in vars(self).values()))


def draw_tasks(
    config: TaskConfig, batch: int, frames: int, views: int, modalities: tuple[str, ...], draw: np.random.Generator
) -> Tasks:
    """Tasks of a whole batch of clips of `frames` frames, out of `views` rendered ones in the order of time.

    Patterns without an order have their frames shuffled, so that the first k are any k; the others ("prediction",
    "interpolation", and causal clips) take them in order, evenly spaced.
    """
    rgb, depth = column(modalities, "rgb"), column(modalities, "depth")
    layout = column(modalities, "layout") if "layout" in modalities else None
    weights = np.array([getattr(config, name) for name in PATTERNS])
    if layout is None:
        weights[PATTERNS.index("layout")] = 0
    pattern = np.array(PATTERNS)[draw.choice(len(PATTERNS), size=batch, p=weights / weights.sum())]
    causal = draw.random(batch) < config.causal
    in_order = causal | np.isin(pattern, ("prediction", "interpolation"))
    chosen = np.where(in_order[:, None], _evenly(batch, frames, views, draw), _shuffled(batch, frames, views, draw))

    shared, own = _levels(config, draw, (batch, 1, 1)), _levels(config, draw, (batch, frames, len(modalities)))
    level = np.where((pattern == "independent")[:, None, None], own, shared) * np.ones((1, frames, 1))
    place = np.arange(frames)
    first = place < 1 + np.floor(draw.random(batch) * max(frames - 1, 1)).astype(int)[:, None]
    every = 1 + draw.integers(1, max(frames - 1, 1) + 1, batch)[:, None]
    ends = (place % every == 0) | (place == frames - 1)
    some = draw.random((batch, 3))
    given = (first & np.isin(pattern, ("given", "given_depth", "prediction"))[:, None] & (frames > 1)) | (
        ends & (pattern == "interpolation")[:, None] & (frames > 2)
    )
    with_depth = (pattern == "given_depth") | (np.isin(pattern, ("prediction", "interpolation")) & (some[:, 0] < 0.5))
    level[..., rgb] = np.where(given | (pattern == "depth")[:, None], 0, level[..., rgb])
    level[..., depth] = np.where(given & with_depth[:, None], 0, level[..., depth])
    if layout is not None:
        drawn = (pattern == "layout") | (some[:, 1] < config.layout_given)
        # A layout that is not given is unknown throughout, or denoised with the rest.
        unknown = ~drawn & (some[:, 2] < 0.5)
        kept = np.where(drawn[:, None], 0.0, np.where(unknown[:, None], 1.0, level[..., layout]))
        level[..., layout] = np.where((pattern == "independent")[:, None], own[..., layout], kept)
    chunk = 1 + draw.integers(0, max(frames // 2, 1), batch)
    order = np.where(causal[:, None], place // chunk[:, None], 0)
    known = [draw.random(batch) >= chance for chance in (config.drop_cameras, config.drop_text, 1 - config.memory)]
    degrading = draw.random((batch, 5), dtype=np.float32)  # last: what is drawn before stays the same without it
    values = (chosen, level.astype(np.float32), order, *known, degrading)
    return Tasks(*(torch.from_numpy(value) for value in values))


def _shuffled(batch: int, frames: int, views: int, draw: np.random.Generator) -> np.ndarray:
    return np.argsort(draw.random((batch, views)), axis=1)[:, :frames]


def _evenly(batch: int, frames: int, views: int, draw: np.random.Generator) -> np.ndarray:
    """Evenly spaced views, from a random first one with a random stride."""
    longest = (views - 1) // max(frames - 1, 1)
    stride = 1 + draw.integers(0, max(longest, 1), batch)
    first = np.floor(draw.random(batch) * (views - stride * (frames - 1))).astype(int)
    return first[:, None] + stride[:, None] * np.arange(frames)


def _levels(config: TaskConfig, draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Logit-normal levels (Esser et al. 2024, eq. 19), some of them at 1 exactly."""
    level = 1 / (1 + np.exp(-draw.normal(config.level_mean, config.level_std, shape)))
    return np.where(draw.random(shape) < config.top, 1.0, level)
