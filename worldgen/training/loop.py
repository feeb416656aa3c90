"""The training loop: resumable at any step, exactly, because every batch is a function of its step alone.

On several processes each computes its share of the batch; what comes of it is the same as on one, but for rounding.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.clip import Clip
from worldgen.config import plain
from worldgen.data.camera_verbs import camera_verb
from worldgen.model import WorldModel, pick_device
from worldgen.seeds import Domain, stream
from worldgen.training import checkpoint
from worldgen.training.config import RunConfig
from worldgen.training.data import SceneStream
from worldgen.training.distributed import Ranks, local, whole
from worldgen.training.level_sampling import Tasks, draw_tasks
from worldgen.training.loss import Batch, Objective
from worldgen.training.memory import memory_render
from worldgen.training.optimizer import build_optimizers, rate

CHECKPOINT = "checkpoint.safetensors"


class Trainer:
    """A run: `for record in trainer.steps(): ...` trains to the end, continuing from the run's own checkpoint.

    ranks  this process among those that train together (`worldgen.training.distributed.joined`); None = it is alone.
           All of them call the same methods in the same order.
    """

    def __init__(self, config: RunConfig, ranks: Ranks | None = None):
        self.config, self.step, self._saved = config, 0, -1
        self.ranks = Ranks(pick_device(config.train.device)) if ranks is None else ranks
        self.device = self.ranks.device
        self.stream = SceneStream(config, self.device, *self.ranks.share)
        self._check_shares()
        self.model = self._fresh_model()
        self.model.network.checkpointing = config.train.checkpointing
        self.model.network.share_frames(self.ranks.context)
        if config.train.compile:
            for block in self.model.network.blocks:
                block.compile()
        self.objective = self.ranks.wrap(Objective(self.model, config.train))
        self.ema = {name: value.detach().clone() for name, value in self.model.state().items()}
        self.optimizers = build_optimizers(self.model.parameters(), config.train)
        if self.checkpoint_path.exists():
            self._resume()
        self._check_agreement()

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

    @property
    def checkpoint_path(self) -> Path:
        """Where this run's state is kept."""
        return self.config.output / CHECKPOINT

    def _fresh_model(self) -> WorldModel:
        config = self.config
        if config.train.start_from is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(stream(Domain.WEIGHTS, config.train.seed).integers(2**31)))
                return WorldModel.create(config.model)
        return WorldModel.load(config.train.start_from).grown(config.model).training(True)

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train, yielding a record a step: step, loss and its parts, gradient norm, rate, seconds."""
        while self.step < self.config.train.steps:
            began = time.perf_counter()
            record = self._train_step()
            self.step += 1
            yield {"step": self.step, **record, "seconds": round(time.perf_counter() - began, 4)}

    def _train_step(self) -> dict[str, Any]:
        train, step = self.config.train, self.step
        total, parts = self.objective(self._batch())
        scalars = self._over_ranks({"loss": total, **parts})
        total.backward()
        norm = whole(torch.nn.utils.clip_grad_norm_([p for _, p in self.model.parameters()], train.clip_norm))
        self._check_finite("gradient norm", norm[None])
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = train.learning_rate * rate(train, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        scalars["gradient_norm"] = float(norm)
        return {**{name: round(value, 6) for name, value in scalars.items()}, "rate": rate(train, step)}

    def _over_ranks(self, scalars: dict[str, Tensor]) -> dict[str, float]:
        """Means over the processes; all stop when one's loss is no number."""
        everyone = self.ranks.gathered(torch.stack([value.detach().float() for value in scalars.values()]))
        self._check_finite("loss", everyone[:, 0])
        return dict(zip(scalars, everyone.mean(0).tolist()))

    def _batch(self) -> Batch:
        """This rank's clips of the step, and what they are asked."""
        config, step, (_, _, stage) = self.config, self.step, self.config.stage_at(self.step)
        seed, places = config.train.seed, self.stream.places(stage)
        draw = stream(Domain.TRAINING, seed, step, 0, 2)
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
                draw = stream(Domain.TRAINING, self.config.train.seed, self.step, place, 3)
                other = footage[row].frames(slice(-1, None))
                rgb[row], depth[row], visible[row] = memory_render(footage[row], tasks.frames[row], other, draw)
        return rgb, depth, visible

    def _check_finite(self, what: str, values: Tensor) -> None:
        """Stop before a number that is none reaches the weights; values [ranks], or [1] of all."""
        wrong = (~values.isfinite()).nonzero().flatten().tolist()
        if wrong:
            where = f" on rank {wrong[0]}" if len(values) > 1 else ""
            raise InputError(
                f"the {what} is {float(values[wrong[0]])} at step {self.step}{where} (seed {self.config.train.seed}); "
                f"the last checkpoint is kept in {self.config.output}; try a lower train.learning_rate"
            )

    def _average(self) -> None:
        """Exponential moving average of the weights, short at first so that it forgets the initialisation."""
        decay = min(self.config.train.ema, (self.step + 1) / (self.step + 10))
        state = self.model.state()
        averages, values = ([local(t[name]) for name in self.ema] for t in (self.ema, state))
        torch._foreach_lerp_(averages, values, 1 - decay)

    def averaged(self) -> WorldModel:
        """The model with averaged weights, whole: the one to evaluate and keep. On the main rank's device; the others'
        is on the CPU."""
        model = WorldModel.create(self.config.model, self.model.vae)
        model.load_state({name: whole(value).cpu() for name, value in self.ema.items()})
        return model.training(False).to(self.device if self.ranks.main else "cpu")

    def save(self) -> None:
        """Write the checkpoint, everything the next step depends on, if that of this step is not there yet."""
        if self._saved == self.step:
            return
        tensors: dict[str, Tensor] = {f"model.{n}": v for n, v in self.model.state().items()}
        tensors |= {f"ema.{name}": value for name, value in self.ema.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.pack_optimizer(name, optimizer)
        header = {"step": self.step, "config": _fingerprint(self.config)}
        checkpoint.save(self.checkpoint_path, tensors, header, self.ranks)
        self._saved = self.step

    def _resume(self) -> None:
        """Whatever number of processes wrote it: each reads what it has."""
        saved = checkpoint.Checkpoint(self.checkpoint_path)
        if saved.header.get("config") != _fingerprint(self.config):
            raise InputError(
                f"{self.checkpoint_path} is of a run with another configuration; expected the same (only the length, "
                "the intervals of checkpoints, sheets and logs, and how the work is shared may change), or another "
                "output folder"
            )
        self.step = self._saved = int(saved.header["step"])
        with torch.no_grad():
            for prefix, state in (("model", self.model.state()), ("ema", self.ema)):
                for name, value in state.items():
                    local(value).copy_(local(checkpoint.read_like(saved, f"{prefix}.{name}", value)))
        for name, optimizer in self.optimizers.items():
            checkpoint.unpack_optimizer(name, optimizer, saved)


def _noise(seed: int, step: int, place: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal noise of one clip, drawn where it is needed; a GPU's differs from a CPU's."""
    draw = stream(Domain.TRAINING, seed, step, place, 6)
    if device.type == "cpu":
        return torch.from_numpy(draw.standard_normal(shape, dtype="float32"))
    generator = torch.Generator(device).manual_seed(int(draw.integers(2**63)))
    return torch.randn(shape, generator=generator, device=device)


def _fingerprint(config: RunConfig) -> str:
    """A digest of everything that decides the weights; the run's length and how the work is shared may be changed."""
    data = plain(config)
    del data["output"]
    run = ("steps", "cooldown", "checkpoint_every", "sheet_every", "log_every")
    for key in (*run, "device", "checkpointing", "compile", "parallel", "context_parallel"):
        del data["train"][key]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
