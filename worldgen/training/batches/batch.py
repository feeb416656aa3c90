"""The batch of a training step: clips with the tasks they are sampled for, as a function of the step alone."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geometry.shapes import Float, Int
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.data.camera_verbs import camera_verb
from worldgen.runtime.rng import Stream, stream
from worldgen.training.batches.memory_render import render_memory
from worldgen.training.batches.render_ahead import scene_stream
from worldgen.training.batches.task_sampling import Tasks, draw_tasks
from worldgen.training.config.run import RunConfig


@as_value
@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    clip          [b, f] frames; depth 0 and layout NaN are unknown
    captions      of each clip
    tasks         what each is trained for
    noise         [b, f, c, h, w] standard normal
    scale_jitter  [b] factors on each clip's scene scale
    degraded, no_coarse  shares of clips for a second stage, as of `TaskConfig`
    memory        rgb, z-depth and visibility [b, f, _, h, w] of a memory render; None = none
    """

    clip: Clip
    captions: tuple[str, ...]
    tasks: Tasks
    noise: Float[Tensor, "b f c h w"]
    scale_jitter: Float[Tensor, "b"]
    memory: tuple[Tensor, Tensor, Tensor] | None = None
    degraded: float = 0.0
    no_coarse: float = 0.0

    def __getitem__(self, clips: Int[Tensor, "n"]) -> "Batch":
        """What is learned from some of the clips."""
        memory = None if self.memory is None else tuple(part[clips] for part in self.memory)
        parts = {"noise": self.noise[clips], "scale_jitter": self.scale_jitter[clips], "memory": memory}
        captions = tuple(self.captions[number] for number in clips.tolist())
        return replace(self, clip=self.clip[clips], captions=captions, tasks=self.tasks[clips], **parts)

    def normalization(self) -> Normalization:
        """That of each clip, its scale jittered."""
        return Normalization.of(self.clip.cameras, scene_scale(self.clip) * self.scale_jitter)


class Batches:
    """The batches of a run, of which a rank takes a share.

    rank, world_size  which share of every batch is drawn, and how many there are
    """

    def __init__(self, config: RunConfig, device: torch.device, rank: int = 0, world_size: int = 1):
        self.config, self.device = config, device
        self.stream = scene_stream(config, device, rank, world_size)

    def at(self, step: int) -> Batch:
        """This rank's clips of a step."""
        config, (_, _, stage) = self.config, self.config.stage_at(step)
        seed, places = config.train.seed, self.stream.places(stage)
        draw = stream(Stream.TRAINING, seed, step, 0, 2)
        frames = int(draw.choice(stage.frames))
        modalities = config.model.network.modalities
        # Drawn for the whole batch, of which a rank takes its slice: the same whatever the number of ranks.
        tasks = draw_tasks(config.tasks, stage.batch, frames, config.data.views, tuple(modalities), draw)
        span = float(torch.log(torch.tensor(config.tasks.scale_jitter)))
        jitter = torch.from_numpy(draw.uniform(-span, span, stage.batch)).float().exp()
        mine = slice(places.start, places.stop)
        tasks, jitter = tasks[mine].to(self.device), jitter[mine].to(self.device)
        footage = self.stream.footage(step)
        clip = footage.clip[torch.arange(len(places), device=self.device)[:, None], tasks.frames]
        captions = tuple(
            f"{caption}, {camera_verb(clip.cameras[row].to('cpu'))}" if caption else ""
            for row, caption in enumerate(footage.captions)
        )
        memory = None
        if config.model.network.memory_channels:
            memory = self._memory(step, footage.clip, clip, tasks, places)
        block = config.model.codec.block
        shape = (frames, sum(modalities.values()), *(side // block for side in clip.cameras.hw))
        noise = torch.stack([_noise(seed, step, place, shape, self.device) for place in places])
        chances = config.tasks.degraded, config.tasks.no_coarse
        return Batch(clip, captions, tasks, noise, jitter, memory, *chances)

    def _memory(
        self, step: int, footage: Clip, clip: Clip, tasks: Tasks, places: range
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Memory renders of the clips that come with one; nothing visible in the others."""
        rgb, depth = torch.zeros_like(clip.rgb), torch.zeros_like(clip.depth)
        visible = torch.zeros_like(clip.depth)
        for row, place in enumerate(places):
            if bool(tasks.memory[row]):
                draw = stream(Stream.TRAINING, self.config.train.seed, step, place, 3)
                other = footage[row].frames(slice(-1, None))
                rgb[row], depth[row], visible[row] = render_memory(footage[row], tasks.frames[row], other, draw)
        return rgb, depth, visible


def _noise(seed: int, step: int, place: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal noise of one clip, drawn where it is needed; a GPU's differs from a CPU's."""
    draw = stream(Stream.TRAINING, seed, step, place, 6)
    if device.type == "cpu":
        return torch.from_numpy(draw.standard_normal(shape, dtype="float32"))
    generator = torch.Generator(device).manual_seed(int(draw.integers(2**63)))
    return torch.randn(shape, generator=generator, device=device)
