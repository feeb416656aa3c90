"""Which levels a training clip is seen at: the mixture decides which modes the model is good at."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Bool, Float
from worldgen.training.config import TaskConfig

RGB, DEPTH = 0, 1


@dataclass(frozen=True)
class Task:
    """Levels [b, f, m] of a batch, and which clips' cameras are known [b]."""

    level: Float[Tensor, "b f m"]
    cameras_known: Bool[Tensor, "b"]


def draw_tasks(config: TaskConfig, batch: int, frames: int, draw: np.random.Generator) -> Task:
    """A task for each clip; modalities are (rgb, depth). Frames come shuffled, so the first k are any k."""
    names = ("given", "given_depth", "depth", "unknown", "independent")
    weights = np.array([getattr(config, name) for name in names])
    task = draw.choice(len(names), size=batch, p=weights / weights.sum())
    shared = _levels(config, draw, (batch, 1, 1))
    own = _levels(config, draw, (batch, frames, 2))
    level = np.where((task == 4)[:, None, None], own, shared) * np.ones((1, frames, 2))
    count = 1 + np.floor(draw.random(batch) * max(frames - 1, 1)).astype(int)
    given = (np.arange(frames) < count[:, None]) & (task <= 1)[:, None] & (frames > 1)
    level[..., RGB] = np.where(given | (task == 2)[:, None], 0, level[..., RGB])
    level[..., DEPTH] = np.where(given & (task == 1)[:, None], 0, level[..., DEPTH])
    known = draw.random(batch) >= config.drop_cameras
    return Task(torch.from_numpy(level).float(), torch.from_numpy(known))


def _levels(config: TaskConfig, draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Logit-normal levels (Esser et al. 2024, eq. 19), some of them at 1 exactly."""
    level = 1 / (1 + np.exp(-draw.normal(config.level_mean, config.level_std, shape)))
    return np.where(draw.random(shape) < config.top, 1.0, level)
