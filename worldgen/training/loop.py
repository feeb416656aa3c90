"""The training loop: resumable at any step, exactly, because every batch is a function of its step alone."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.config import plain
from worldgen.model import WorldModel, pick_device
from worldgen.seeds import Domain, stream
from worldgen.training import checkpoint
from worldgen.training.config import RunConfig
from worldgen.training.data import SceneStream
from worldgen.training.level_sampling import draw_tasks
from worldgen.training.loss import loss
from worldgen.training.optimizer import build_optimizers, rate

CHECKPOINT = "checkpoint.safetensors"


class Trainer:
    """A run: `for record in trainer.steps(): ...` trains to the end, continuing from the run's own checkpoint."""

    def __init__(self, config: RunConfig):
        self.config, self.step = config, 0
        self.device = pick_device(config.train.device)
        self.model = self._fresh_model().to(self.device)
        self.ema = {name: value.detach().clone() for name, value in self.model.network.state_dict().items()}
        self.optimizers = build_optimizers(self.model.network, config.train)
        self.stream = SceneStream(config, self.device)
        if self.checkpoint_path.exists():
            self._resume()

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
        start = WorldModel.load(config.train.start_from)
        if plain(start.config.network) != plain(config.model.network):
            raise InputError(f"train.start_from {config.train.start_from!r} has another network than this run's model")
        start.network.requires_grad_(True).train()
        return WorldModel(config.model, start.network)

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train, yielding a record a step: step, loss and its parts, gradient norm, rate, seconds."""
        while self.step < self.config.train.steps:
            began = time.perf_counter()
            record = self._train_step()
            self.step += 1
            yield {"step": self.step, **record, "seconds": round(time.perf_counter() - began, 4)}

    def _train_step(self) -> dict[str, Any]:
        train, step = self.config.train, self.step
        clip = self.stream.batch(step)
        batch, frames = clip.cameras.shape
        draw = stream(Domain.TRAINING, train.seed, step, 0, 4)
        task = draw_tasks(self.config.tasks, batch, frames, draw)
        task = replace(task, level=task.level.to(self.device), cameras_known=task.cameras_known.to(self.device))
        span = torch.log(torch.tensor(self.config.tasks.scale_jitter))
        jitter = torch.exp(span * (2 * torch.from_numpy(draw.random(batch)).float() - 1)).to(self.device)
        block = self.config.model.codec.block
        shape = (batch, frames, sum(self.model.channels), *(side // block for side in clip.cameras.hw))
        noise = torch.from_numpy(draw.standard_normal(shape, dtype="float32")).to(self.device)

        half = train.precision == "bf16"
        total, parts = loss(self.model, clip, task, noise, jitter, train.depth_weight, half)
        self._check_finite("loss", total.detach())
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.network.parameters(), train.clip_norm)
        self._check_finite("gradient norm", norm)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = train.learning_rate * rate(train, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        scalars = {"loss": total, **parts, "gradient_norm": norm}
        return {**{k: round(float(v.detach()), 6) for k, v in scalars.items()}, "rate": rate(train, step)}

    def _check_finite(self, what: str, value: Tensor) -> None:
        """Stop before a number that is none reaches the weights."""
        if not bool(value.isfinite()):
            raise InputError(
                f"the {what} is {float(value)} at step {self.step} (seed {self.config.train.seed}); the last "
                f"checkpoint is kept in {self.config.output}; try a lower train.learning_rate"
            )

    def _average(self) -> None:
        """Exponential moving average of the weights, short at first so that it forgets the initialisation."""
        decay = min(self.config.train.ema, (self.step + 1) / (self.step + 10))
        state = self.model.network.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [state[name] for name in self.ema], 1 - decay)

    def averaged(self) -> WorldModel:
        """The model with averaged weights: the one to evaluate and keep."""
        model = WorldModel.create(self.config.model)
        model.network.load_state_dict(self.ema)
        model.network.requires_grad_(False).eval()
        return model.to(self.device)

    def save(self) -> None:
        """Write the checkpoint: everything the next step depends on."""
        tensors: dict[str, Tensor] = {f"model.{n}": v for n, v in self.model.network.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.ema.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.pack_optimizer(name, optimizer)
        checkpoint.save(self.checkpoint_path, tensors, {"step": self.step, "config": _fingerprint(self.config)})

    def _resume(self) -> None:
        tensors, header = checkpoint.load(self.checkpoint_path)
        if header.get("config") != _fingerprint(self.config):
            raise InputError(
                f"{self.checkpoint_path} is of a run with another configuration; expected the same (only the length "
                "and the intervals of checkpoints, sheets and logs may change), or another output folder"
            )
        self.step = int(header["step"])
        self.model.network.load_state_dict({n[6:]: v for n, v in tensors.items() if n.startswith("model.")})
        self.ema = {n[4:]: v.to(self.device, copy=True) for n, v in tensors.items() if n.startswith("ema.")}
        for name, optimizer in self.optimizers.items():
            checkpoint.unpack_optimizer(name, optimizer, tensors)


def _fingerprint(config: RunConfig) -> str:
    """A digest of everything that decides the weights, but for the run's length, which may be changed on the way."""
    data = plain(config)
    del data["output"]
    for key in ("steps", "cooldown", "checkpoint_every", "sheet_every", "log_every", "device"):
        del data["train"][key]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
