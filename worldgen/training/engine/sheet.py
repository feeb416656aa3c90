"""A contact sheet of a model in training, on held-out scenes."""

from pathlib import Path

import torch

from geometry.io.images import write_png
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling, generate_views
from worldgen.runtime.contact_sheet import depth_image, grid
from worldgen.runtime.rng import Stream, uniform
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

_SCENES, _SPREAD_DEG = 6, 46.0


def write_sheet(model: WorldModel, path: Path) -> None:
    """One row a scene: up to two given views; the new views, true, from one call, and sampled; their depth, true and
    from one call."""
    size, frames = model.config.size_px, min(4, model.config.frames)
    count = frames // 2
    per_scene = uniform(Stream.HELD_OUT_SCENES, 0, (0, 0, 1), (_SCENES, NUMBERS))
    per_frame = uniform(Stream.HELD_OUT_SCENES, 0, (0, 0, 2), (_SCENES, frames, NUMBERS))
    cameras = ring(per_scene, per_frame, torch.full((_SCENES,), _SPREAD_DEG), (size, size))
    truth = render(tabletop(0, list(range(_SCENES)), held_out=True), cameras)
    given, scale = truth.frames(slice(0, count)), scene_scale_from_cameras(cameras)
    given = Clip(given.rgb, torch.zeros_like(given.depth), given.cameras)
    one, full = (
        generate_views(model, given, cameras[:, count:], scale, sampling).to("cpu")
        for sampling in (ONE_CALL, Sampling.of(model))
    )
    rows = []
    for i in range(_SCENES):
        depths = [depth_image(clip.depth[i, j], 1.5, 8.0) for j in range(count, frames) for clip in (truth, one)]
        rows.append([*truth.rgb[i], *one.rgb[i, count:], *full.rgb[i, count:], *depths])
    write_png(path, grid(rows))
