"""What every training loop does: steps that can be stopped and resumed, exactly."""

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.runtime.config import as_first_stored, plain
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine import averages, checkpoint
from worldgen.training.engine.budget import Budget
from worldgen.training.engine.distributed import Ranks, local, whole
from worldgen.training.engine.optimizer import build_optimizers, rate

CHECKPOINT = "checkpoint.safetensors"


@runtime_checkable
class Run(Protocol):
    """A run's configuration, a dataclass."""

    @property
    def output(self) -> Path: ...

    @property
    def train(self) -> TrainConfig: ...


class Resumable(ABC):
    """A run: `for record in trainer.steps(): ...` trains to the end, resuming from the run's own checkpoint.

    A subclass calls `_start` when what it trains exists. Its loss is a function of its weights and the step alone, so
    that a resumed run is one without a stop, bit for bit (at the same number of threads).

    ranks  this process among those that train together; all call the same methods in the same order
    """

    def __init__(self, config: Run, ranks: Ranks):
        self._run, self.ranks, self.step, self._saved = config, ranks, 0, -1
        self.budget = Budget(config.train, ranks)

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All tensors that are trained, averaged and part of the result, by name, not copied."""

    @abstractmethod
    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name, also those that are no part of the result."""

    @abstractmethod
    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's loss of the step, and its parts."""

    @property
    def identity(self) -> str:
        """A digest of what decides the weights, but for the run's length: a run resumes only from its own."""
        return fingerprint(self._run)

    @property
    def total(self) -> int:
        """The run's steps, as far as their number is known (`worldgen.training.engine.budget`)."""
        return self.budget.steps

    @property
    def checkpoint_path(self) -> Path:
        """The file of this run's state."""
        return self._run.output / CHECKPOINT

    def _start(self) -> None:
        """Make averages and optimizers, and read all state from the run's checkpoint if it has one."""
        self.ema = self._copied_state()
        self.averages = {length: self._copied_state() for length in self._run.train.averages}
        self.optimizers = build_optimizers(self.parameters(), self._run.train)
        if self.checkpoint_path.exists():
            self._resume()

    def _copied_state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.state().items()}

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train, yielding a record a step: step, loss and its parts, gradient norm, rate, seconds."""
        if self.ranks.main:
            averages.forget_later(self._run.output, self.step)
            checkpoint.remove_strays(self.checkpoint_path)
        while self.step < self.total:
            began = time.perf_counter()
            record = self._train_step()
            self.step += 1
            seconds = time.perf_counter() - began
            fixed = self.budget.after(self.step)
            yield {"step": self.step, **record, "seconds": round(seconds, 4)}
            if fixed:
                self.save()  # or a crash before the next checkpoint would lead to another length

    def _train_step(self) -> dict[str, Any]:
        train = self._run.train
        share = rate(train, self.step, self.total)
        total, parts = self.loss()
        scalars = self._over_ranks({"loss": total, **parts})
        total.backward()
        norm = whole(torch.nn.utils.clip_grad_norm_([p for _, p in self.parameters()], train.clip_norm))
        self._check_finite("gradient norm", norm[None])
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = train.learning_rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        scalars["gradient_norm"] = float(norm)
        return {**{name: round(value, 6) for name, value in scalars.items()}, "rate": share}

    def _over_ranks(self, scalars: dict[str, Tensor]) -> dict[str, float]:
        """Means over the processes; all stop when one's loss is NaN or Inf."""
        everyone = self.ranks.gathered(torch.stack([value.detach().float() for value in scalars.values()]))
        self._check_finite("loss", everyone[:, 0])
        return dict(zip(scalars, everyone.mean(0).tolist()))

    def _check_finite(self, what: str, values: Tensor) -> None:
        """Stop before NaN or Inf reaches the weights; values [ranks], or [1] of all."""
        wrong = (~values.isfinite()).nonzero().flatten().tolist()
        if wrong:
            where = f" on rank {wrong[0]}" if len(values) > 1 else ""
            raise InputError(
                f"the {what} is {float(values[wrong[0]])} at step {self.step}{where} (seed {self._run.train.seed}); "
                f"the last checkpoint is kept in {self._run.output}; try a lower train.learning_rate"
            )

    def _average(self) -> None:
        """Exponential moving average of the weights, short at first so that it forgets the initialization, and the
        averages whose length can be chosen later."""
        decays = [min(self._run.train.ema, (self.step + 1) / (self.step + 10))]
        decays += [averages.decay(length, self.step + 1) for length in self.averages]
        state = self.state()
        values = [local(state[name]) for name in self.ema]
        for average, decay in zip((self.ema, *self.averages.values()), decays):
            torch._foreach_lerp_([local(average[name]) for name in self.ema], values, 1 - decay)

    def _kept(self) -> list[tuple[str, dict[str, Tensor]]]:
        """Weights and averages under their names in a checkpoint."""
        powers = [(f"average {length}", average) for length, average in self.averages.items()]
        return [("model", self.state()), ("ema", self.ema), *powers]

    def snapshot(self) -> None:
        """Store the averages whose length can be chosen later (`worldgen average`), in 16 bits; nothing without any."""
        if self.averages:
            tensors = {
                f"{length}/{name}": v.half() for length, kept in self.averages.items() for name, v in kept.items()
            }
            header = {"step": self.step, "run": plain(self._run)}
            checkpoint.save(averages.snapshot_path(self._run.output, self.step), tensors, header, self.ranks)

    def has_snapshot(self) -> bool:
        """Whether this step's averages are stored, or there are none."""
        return not self.averages or averages.snapshot_path(self._run.output, self.step).is_file()

    def save(self) -> None:
        """Write the checkpoint, everything the next step depends on, unless this step's is there already."""
        if self._saved == self.step:
            return
        tensors: dict[str, Tensor] = {}
        tensors |= {f"{prefix}.{name}": value for prefix, kept in self._kept() for name, value in kept.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.pack_optimizer(name, optimizer)
        header = {"step": self.step, "config": self.identity, **self.budget.state()}
        checkpoint.save(self.checkpoint_path, tensors, header, self.ranks)
        self._saved = self.step

    def _resume(self) -> None:
        """Read the checkpoint, whatever number of processes wrote it: each takes its own part."""
        saved = checkpoint.Checkpoint(self.checkpoint_path)
        if saved.header.get("config") != self.identity:
            raise InputError(
                f"{self.checkpoint_path} is of a run with another configuration; expected the same (only the length, "
                "the intervals of checkpoints, sheets and logs, and how the work is shared may change), or another "
                "output folder"
            )
        self.step = self._saved = int(saved.header["step"])
        self.budget.restore(saved.header)
        with torch.no_grad():
            for prefix, kept in self._kept():
                for name, value in kept.items():
                    local(value).copy_(local(checkpoint.read_like(saved, f"{prefix}.{name}", value)))
        for name, optimizer in self.optimizers.items():
            checkpoint.unpack_optimizer(name, optimizer, saved)


def fingerprint(config: Run) -> str:
    """A digest of everything that decides the weights; the run's length and how the work is shared may be changed."""
    data = as_first_stored(plain(config))
    del data["output"]
    run = ("steps", "budget_s", "cooldown", "checkpoint_every", "sheet_every", "log_every", "average_every")
    data.get("model", {}).pop("sampling", None)
    for key in (*run, "device", "checkpointing", "compile", "parallel", "context_parallel"):
        del data["train"][key]
    data["train"].pop("render_ahead", None)
    # Checkpoints from before these options existed still resume.
    if not data["train"].get("alignment_weight"):
        data["train"].pop("alignment_until", None)
    for section, newer in ((data["train"], ("averages", "alignment_weight")), (data, ("reward", "distill"))):
        for name in newer:
            if not section.get(name):
                section.pop(name, None)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
