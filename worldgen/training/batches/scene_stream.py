"""Training clips, rendered on the device: a batch is a function of (configuration, step), and ranks take slices of it.

Place b of a batch has a series of scenes of its own, so that a rank renders nothing but its own places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.data import Shards
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.cameras.random_lenses import with_lenses
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.cameras.viewpoints import arcs
from worldgen.scenes.families.family import draw, find_family, views
from worldgen.scenes.layout import scene_layout
from worldgen.scenes.rendering.renderer import TRUTHS, render
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainingStage


@as_value
@dataclass(frozen=True)
class Footage:
    """All views of a batch's scenes, in the order of time where there is one, and each scene's caption."""

    clip: Clip
    captions: tuple[str, ...]


class SceneStream:
    """The views of a step's scenes. Each place draws scenes in pools that serve several steps, so that rendering stays
    cheap. A share of the clips can come from shards of real captures (`worldgen curate`)."""

    def __init__(self, config: RunConfig, device: torch.device, rank: int = 0, world_size: int = 1):
        self.config, self.device, self.rank, self.world_size = config, device, rank, world_size
        self._pool: tuple[tuple[int, int], Footage] | None = None  # the one that is used
        path = config.data.shards
        self.shards = None if path is None else Shards(path)

    def places(self, stage: TrainingStage) -> range:
        """This rank's places in a stage's batch. Raises InputError when ranks cannot share it evenly."""
        if stage.batch % self.world_size:
            raise InputError(f"a batch of {stage.batch} for {self.world_size} ranks; expected a multiple")
        share = stage.batch // self.world_size
        return range(self.rank * share, (self.rank + 1) * share)

    def footage(self, step: int) -> Footage:
        """The views [b, views] from which this rank's clips of a step take their frames."""
        data = self.config.data
        number, first, stage = self.config.stage_at(step)
        block, within = divmod(step - first, data.pool * data.reuse)
        turn, position = divmod(within, data.pool)
        if self._pool is None or self._pool[0] != (number, block):
            self._pool = None  # two are not held at once
            self._pool = (number, block), self._made_pool(number, block)
        pool, places = self._pool[1], self.places(stage)
        rows = []
        for row, place in enumerate(places):
            order = stream(Stream.TRAINING, self.config.train.seed, _address(number, block, turn), place, 1)
            rows.append(row * data.pool + int(order.permutation(data.pool)[position]))
        clips, captions = pool.clip[torch.tensor(rows, device=self.device)], [pool.captions[row] for row in rows]
        for row, place in enumerate(places):
            sample = self._real(step, place, stage)
            if sample is not None:
                clips, captions[row] = _replaced(clips, row, sample[0]), sample[1]
        return Footage(clips, tuple(captions))

    def pool_after(self, number: int, block: int) -> tuple[int, int] | None:
        """The stage and block of the pool that steps need after that of a stage's block; None = the run ends there."""
        data, stages = self.config.data, self.config.stages
        if (block + 1) * data.pool * data.reuse < stages[number].steps:
            return number, block + 1
        return (number + 1, 0) if number + 1 < len(stages) else None

    def _made_pool(self, number: int, block: int) -> Footage:
        return self.render_pool(number, block)

    def _real(self, step: int, place: int, stage: TrainingStage) -> tuple[Clip, str] | None:
        """The clip of a real capture that replaces a scene at a place, if one does."""
        data = self.config.data
        draw = stream(Stream.TRAINING, data.seed, step, place, 7)
        if self.shards is None or draw.random() >= data.shards_share:
            return None
        sample = self.shards[int(draw.integers(len(self.shards)))]
        clip, side = sample.clip, stage.size_px
        if clip.cameras.hw != (side, side) or len(clip) < data.views:
            raise InputError(
                f"clip {sample.key} of {len(clip)} frames of {clip.cameras.hw[1]}x{clip.cameras.hw[0]} pixels; "
                f"expected at least {data.views} (data.views) of {side}x{side}: curate with other `frames=`, `size_px=`"
            )
        stride = 1 + int(draw.integers((len(clip) - 1) // max(data.views - 1, 1)))
        start = int(draw.integers(len(clip) - stride * (data.views - 1)))
        return clip.frames(slice(start, start + stride * (data.views - 1) + 1, stride)).to(self.device), sample.caption

    def render_pool(self, number: int, block: int) -> Footage:
        """All scenes of this rank's places for some steps, place by place."""
        data = self.config.data
        stage = self.config.stages[number]
        places = self.places(stage)
        names = [name for name, weight in data.families.items() if weight > 0]
        weights = np.array([data.families[name] for name in names])
        family = np.concatenate(
            [
                stream(Stream.TRAINING, data.seed, _address(number, block), place, 4).choice(
                    len(names), data.pool, p=weights / weights.sum()
                )
                for place in places
            ]
        )
        # Scene numbers belong to (stage, block, place, row), whatever the mixture and the number of ranks.
        serial = _address(number, block) * stage.batch * data.pool
        numbers = [serial + place * data.pool + row for place in places for row in range(data.pool)]
        parts, order, captions = [], [], [""] * len(numbers)
        for n, name in enumerate(names):
            rows = np.flatnonzero(family == n).tolist()
            if rows:
                clip, said = self._render_family(name, [numbers[row] for row in rows], stage)
                parts.append(clip)
                order += rows
                for row, caption in zip(rows, said):
                    captions[row] = caption
        back = torch.tensor(order).argsort().to(self.device)
        return Footage(_joined(parts)[back], tuple(captions))

    def _render_family(self, name: str, numbers: list[int], stage: TrainingStage) -> tuple[Clip, Sequence[str]]:
        """The clips of one family in a pool, and their captions."""
        data, size = self.config.data, stage.size_px
        scene = draw(name, data.seed, numbers)
        if find_family(name).on_arcs:
            cameras = arcs(data.seed, numbers, data.views, data.spreads_deg, (size, size))
        else:
            cameras = views(name, scene, data.seed, numbers, False, ClipSpec(data.views, data.fps, (size, size)))
        cameras = with_lenses(cameras, data.seed, numbers, data.lenses)
        scene, cameras = scene.to(self.device), cameras.to(self.device)
        captions = scene.captions or ("",) * len(numbers)
        codec = self.config.model.codec
        wanted = {name for name in codec.extra if name in TRUTHS} | ({"classes"} if codec.layout else set())
        clip = render(scene, cameras, data.supersample, tuple(sorted(wanted)))
        drawn = scene_layout(scene, cameras, clip.classes) if codec.layout else None
        maps = {name: value for name, value in clip.maps().items() if name in codec.extra}
        return Clip(clip.rgb, clip.depth, clip.cameras, layout=drawn).with_maps(maps), captions


def _address(stage: int, block: int, turn: int = 0) -> int:
    """One number for a pool's turn, different for each."""
    return (stage << 44) + (turn << 36) + block


def _joined(clips: list[Clip]) -> Clip:
    """Batches of clips as one."""
    frames = clips[0].cameras.shape[1]
    cameras = Cameras.cat([clip.cameras.reshape(clip.cameras.shape.numel()) for clip in clips])
    maps = {name: torch.cat([clip.maps()[name] for clip in clips]) for name in clips[0].maps()}
    return Clip.of_maps(maps, cameras.reshape(cameras.shape[0] // frames, frames))


def _replaced(clips: Clip, row: int, clip: Clip) -> Clip:
    """A batch with one clip replaced; a layout that the new one lacks is unknown (NaN)."""
    missing = {n: torch.full_like(v[row], torch.nan) for n, v in clips.maps().items() if n not in clip.maps()}
    whole = Clip.of_maps(clip.maps() | missing, clip.cameras)
    return _joined([clips[:row], whole[None], clips[row + 1 :]])
