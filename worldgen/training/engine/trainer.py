"""The training loop: resumable at any step, exactly, because every batch is a function of its step alone.

On several processes each computes its share of the batch; what comes of it is the same as on one, but for rounding.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.core.clip import Clip
from worldgen.data.camera_verbs import camera_verb
from worldgen.models.world_model import WorldModel, pick_device
from worldgen.runtime.rng import Stream, stream
from worldgen.training.batches.memory_render import memory_render
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks, draw_tasks
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.distributed import Ranks, whole
from worldgen.training.engine.resumable import Resumable
from worldgen.training.objectives.alignment import AlignedObjective, Alignment
from worldgen.training.objectives.loss import Batch, Objective
from worldgen.training.objectives.reward import RewardedObjective


class Trainer(Resumable):
    """A model's run (see `Resumable`).

    ranks  this process among those that train together (`worldgen.training.engine.distributed.joined`); None = it is
           alone
    """

    def __init__(self, config: RunConfig, ranks: Ranks | None = None):
        super().__init__(config, Ranks(pick_device(config.train.device)) if ranks is None else ranks)
        self.config, self.device = config, self.ranks.device
        self.stream = SceneStream(config, self.device, *self.ranks.share)
        self._check_shares()
        self.model = self._fresh_model()
        self.model.network.checkpointing = config.train.checkpointing
        self.model.network.share_frames(self.ranks.context)
        if config.train.compile:
            for block in self.model.network.blocks:
                block.compile()
        self.alignment: Alignment | None = None
        self.objective = self.ranks.wrap(self._objective())
        self._start()
        self._check_agreement()

    def _objective(self) -> Objective:
        config = self.config
        if config.reward is not None:
            return RewardedObjective(self.model, config.train, config.reward)
        if config.train.alignment_weight > 0:
            with self.fresh_weights(1):
                self.alignment = Alignment(self.model.network)
            return AlignedObjective(self.model, config.train, self.alignment)
        return Objective(self.model, config.train)

    def _check_shares(self) -> None:
        """Raises InputError when some stage's clips or frames can't be shared evenly."""
        size = 1 if self.ranks.context is None else self.ranks.context.size
        for stage in self.config.stages:
            self.stream.places(stage)
            if any(frames % size for frames in stage.frames):
                raise InputError(
                    f"clips of {list(stage.frames)} frames for {size} processes each (train.context_parallel); "
                    "expected multiples"
                )

    def _check_agreement(self) -> None:
        """Raises InputError when the processes would not go on from the same step."""
        steps = self.ranks.gathered(torch.tensor([float(self.step)], device=self.device)).flatten().tolist()
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes found checkpoints of steps {[int(step) for step in steps]} in {self.config.output}; "
                "expected an output folder that all nodes share"
            )

    def _fresh_model(self) -> WorldModel:
        config = self.config
        if config.train.start_from is None:
            with self.fresh_weights():
                return WorldModel.create(config.model)
        return WorldModel.load(config.train.start_from).grown(config.model).training(True)

    def state(self) -> dict[str, Tensor]:
        """All tensors of the model by name. The alignment's head learns beside it and is averaged by nobody."""
        return self.model.state()

    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name."""
        aligning = () if self.alignment is None else self.alignment.named_parameters(prefix="alignment")
        return [*self.model.parameters(), *aligning]

    def _kept(self) -> list[tuple[str, dict[str, Tensor]]]:
        aligning = [] if self.alignment is None else [("alignment", self.alignment.state_dict())]
        return [*super()._kept(), *aligning]

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this rank's clips of the step, and its parts."""
        if self.alignment is not None:
            self.alignment.on = self.step < self.config.train.alignment_until * self.total
        return self.objective(self._batch())

    def _batch(self) -> Batch:
        """This rank's clips of the step, and what they are asked."""
        config, step, (_, _, stage) = self.config, self.step, self.config.stage_at(self.step)
        seed, places = config.train.seed, self.stream.places(stage)
        draw = stream(Stream.TRAINING, seed, step, 0, 2)
        frames = int(draw.choice(stage.frames))
        names = tuple(config.model.network.modalities)
        # Drawn for the whole batch, of which a rank takes its slice: the same whatever the number of ranks.
        tasks = draw_tasks(config.tasks, stage.batch, frames, config.data.views, names, draw)
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
            memory = self._memory(footage.clip, clip, tasks, places)
        block = self.model.codec.block
        shape = (frames, sum(self.model.channels), *(side // block for side in clip.cameras.hw))
        noise = torch.stack([_noise(seed, step, place, shape, self.device) for place in places])
        return Batch(clip, captions, tasks, noise, jitter, memory)

    def _memory(self, footage: Clip, clip: Clip, tasks: Tasks, places: range) -> tuple[Tensor, Tensor, Tensor]:
        """Memory renders of the clips that are shown with one; nothing visible in the others."""
        rgb, depth = torch.zeros_like(clip.rgb), torch.zeros_like(clip.depth)
        visible = torch.zeros_like(clip.depth)
        for row, place in enumerate(places):
            if bool(tasks.memory[row]):
                draw = stream(Stream.TRAINING, self.config.train.seed, self.step, place, 3)
                other = footage[row].frames(slice(-1, None))
                rgb[row], depth[row], visible[row] = memory_render(footage[row], tasks.frames[row], other, draw)
        return rgb, depth, visible

    def averaged(self) -> WorldModel:
        """The model with averaged weights, whole: the one to evaluate and keep. On the main rank's device; the others'
        is on the CPU."""
        model = WorldModel.create(self.config.model, self.model.vae)
        model.load_state({name: whole(value).cpu() for name, value in self.ema.items()})
        return model.training(False).to(self.device if self.ranks.main else "cpu")

    def keep(self, averaged: WorldModel, folder: Path) -> None:
        """Write the averaged model, as the run leaves it."""
        averaged.save(folder, int8=True)


def _noise(seed: int, step: int, place: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal noise of one clip, drawn where it is needed; a GPU's differs from a CPU's."""
    draw = stream(Stream.TRAINING, seed, step, place, 6)
    if device.type == "cpu":
        return torch.from_numpy(draw.standard_normal(shape, dtype="float32"))
    generator = torch.Generator(device).manual_seed(int(draw.integers(2**63)))
    return torch.randn(shape, generator=generator, device=device)
