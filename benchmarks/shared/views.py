"""New views of clips whose first frames are given."""

import torch

from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views


def images_only(clip: Clip) -> Clip:
    """The clip with its depth unknown."""
    return Clip(clip.rgb, torch.zeros_like(clip.depth), clip.cameras)


def predicted(model: WorldModel, sampling: Sampling, truth: Clip, given: int, at_once: int) -> Clip:
    """The frames after the first `given` of clips [b, f], from the images of those and all cameras.

    at_once  clips a call; noise is numbered within a call, so the figures depend on it
    """
    parts = []
    for start in range(0, len(truth.rgb), at_once):
        part = truth[start : start + at_once]
        known = images_only(part.frames(slice(0, given)))
        scale = scene_scale_from_cameras(part.cameras)
        made = generate_views(model, known, part.cameras[:, given:], scale, sampling)
        parts.append(made.frames(slice(given, None)))
    rgb, depth = (torch.cat([getattr(part, name) for part in parts]) for name in ("rgb", "depth"))
    return Clip(rgb, depth, truth.cameras[:, given:])
