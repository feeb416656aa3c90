"""Training clips, drawn on the device: the batch is a function of (configuration, step)."""

from functools import lru_cache

import numpy as np
import torch

from geometry.cameras import Cameras
from worldgen.clip import Clip
from worldgen.scenes.families import draw
from worldgen.scenes.filming import Shot, views
from worldgen.scenes.render import render
from worldgen.scenes.viewpoints import NUMBERS, ring
from worldgen.seeds import Domain, stream
from worldgen.training.config import RunConfig


class SceneStream:
    """Batches of rendered clips by step. Scenes come in pools that serve several steps, so that drawing stays cheap."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.config, self.device = config, device
        self._pool = lru_cache(maxsize=1)(self._render_pool)

    def batch(self, step: int) -> Clip:
        """The clips [b, f] of a step: its share of the pool in this pass's order, with frames drawn of each."""
        data, train = self.config.data, self.config.train
        block, within = divmod(step, data.pool * data.reuse)
        turn, position = divmod(within, data.pool)
        order = stream(Domain.TRAINING, train.seed, block, turn, 1).permutation(data.pool * train.batch)
        scenes = order[position * train.batch : (position + 1) * train.batch]
        draw = stream(Domain.TRAINING, train.seed, step, 0, 2)
        frames = int(draw.choice(train.frames))
        # One permutation of the views a clip: its first frame, the reference camera, is any of them.
        views = np.argsort(draw.random((train.batch, data.views)), axis=1)[:, :frames]
        index = (torch.from_numpy(scenes)[:, None].to(self.device), torch.from_numpy(views).to(self.device))
        pool = self._pool(block)
        return Clip(pool.rgb[index], pool.depth[index], pool.cameras[index])

    def _render_pool(self, block: int) -> Clip:
        data, train = self.config.data, self.config.train
        count = data.pool * train.batch
        names = [name for name, weight in data.families.items() if weight > 0]
        weights = np.array([data.families[name] for name in names])
        family = stream(Domain.TRAINING, data.seed, block, 0, 4).choice(len(names), count, p=weights / weights.sum())
        parts, order = [], []
        for n, name in enumerate(names):
            rows = np.flatnonzero(family == n).tolist()
            if rows:
                parts.append(self._render_family(name, block, count, rows))
                order += rows
        back = torch.tensor(order).argsort().to(self.device)
        rgb, depth = (torch.cat([getattr(part, kind) for part in parts])[back] for kind in ("rgb", "depth"))
        shots = [part.cameras for part in parts]
        poses, K, view, time_s = (
            torch.cat([getattr(shot, kind) for shot in shots])[back]
            for kind in ("world_from_camera", "K", "view", "time_s")
        )
        return Clip(rgb, depth, Cameras(poses, K, shots[0].hw, view, time_s))

    def _render_family(self, name: str, block: int, count: int, rows: list[int]) -> Clip:
        """The clips of one family in a pool: scene numbers belong to places in the stream, whatever the mixture."""
        data, size = self.config.data, self.config.model.size_px
        numbers = [block * count + row for row in rows]
        scene = draw(name, data.seed, numbers)
        if name == "tabletop":
            cameras = draw_cameras(self.config, block, count)[torch.tensor(rows)]
        else:
            cameras = views(name, scene, data.seed, numbers, False, Shot(data.views, data.fps, (size, size)))
        return render(scene.to(self.device), cameras.to(self.device), data.supersample)


def draw_cameras(config: RunConfig, block: int, count: int) -> Cameras:
    """Cameras [count, views] of a pool's scenes."""
    data, size = config.data, config.model.size_px
    draw = stream(Domain.TRAINING, data.seed, block, 0, 3)
    pairs = np.array(data.spreads_deg)[draw.integers(len(data.spreads_deg), size=count)]
    spread = pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * draw.random(count)
    per_scene, per_frame = draw.random((count, NUMBERS)), draw.random((count, data.views, NUMBERS))
    scene_numbers, frame_numbers, spread_deg = (torch.from_numpy(u).float() for u in (per_scene, per_frame, spread))
    return ring(scene_numbers, frame_numbers, spread_deg, (size, size))
