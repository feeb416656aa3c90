"""A student of few steps: each of its steps lands where several guided ones of its teacher do.

Progressive distillation (Salimans & Ho 2022, algorithm 2) of a guided teacher (Meng et al. 2023, section 3), all
halvings at once: from noised frames at a level of the student's grid the teacher goes down to the next in
`teacher_steps / steps` Euler steps, and the student learns the clean estimate that leads there in one. It is a change
of low rank to the teacher's matrices (`worldgen.models.students`).
"""

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.conditioning import Conditioning
from worldgen.models.lora import LowRank
from worldgen.models.students import StudentConfig, save_student
from worldgen.models.world_model import WorldModel
from worldgen.sampling.defaults import SamplingDefaults
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.process import per_channel
from worldgen.training.config.objectives import DistillConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.trainer import Trainer
from worldgen.training.objectives.loss import Batch, Objective


class DistilledObjective(Objective):
    """Mean squared error to where the teacher lands, weighed as the ordinary loss is.

    change  what is trained; the model, which is the teacher, stays
    """

    def __init__(self, model: WorldModel, config: TrainConfig, distill: DistillConfig, change: LowRank):
        super().__init__(model, config)
        self.distill, self.change = distill, change

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts by modality."""
        seen = self._seen(batch)
        with self._autocast(seen.x):
            target = self._target(seen.x, seen.level, seen.conditioning, batch.noise)
            estimate = self._student(seen.x, seen.level, seen.conditioning)
        return self._weighed(estimate - target, seen)

    def _levels(self, level: Tensor) -> Tensor:
        """Up to the next of the student's levels; what is given stays given."""
        return (level * self.distill.steps).ceil() / self.distill.steps

    def _student(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        model = self.model
        changed = self.change.changed(model.network.state_dict())

        def network(*shown: object) -> Tensor:
            return functional_call(model.network, changed, shown)

        return model.config.process.precondition(network, model.config.network.modalities)(x, level, conditioning)

    @torch.no_grad()
    def _target(
        self, x: Float[Tensor, "b f c h w"], level: Float[Tensor, "b f m"], conditioning: Conditioning, noise: Tensor
    ) -> Float[Tensor, "b f c h w"]:
        """The clean estimate from which one step leads where the teacher's steps do; anything finite at level 0."""
        model, distill = self.model, self.distill
        count = distill.teacher_steps // distill.steps
        guidance = Guidance(image=distill.guidance)
        teacher = guide(model.denoiser(), guidance, noise)
        after = (level - 1 / distill.steps).clamp_min(0)
        end = x
        for step in range(count):
            here, there = (torch.lerp(level, after, n / count) for n in (step, step + 1))
            end = _stepped(end, teacher(end, here, conditioning), _kept(here, there, model))
        kept = _kept(level, after, model)
        return torch.where(kept < 1, (end - kept * x) / (1 - kept).clamp_min(1e-6), x)


def _stepped(x: Tensor, x0: Tensor, kept: Tensor) -> Tensor:
    """Euler's step of the flow along x = (1 - t) x0 + t noise."""
    return x0 + (x - x0) * kept


def _kept(level: Tensor, after: Tensor, model: WorldModel) -> Tensor:
    """The share of its distance to the clean estimate that each channel keeps in a step; all where it is at level 0."""
    share = torch.where(level > 0, after / level.clamp_min(1e-6), 1.0)
    return per_channel(share, model.channels)


class StudentTrainer(Trainer):
    """A student's run: the teacher's weights stay, and the change to them is trained."""

    change: LowRank

    def _fresh_model(self) -> WorldModel:
        config = self.config
        assert config.train.start_from is not None and config.distill is not None
        teacher = WorldModel.load(config.train.start_from)
        shape = ("size_px", "frames", "codec", "codec_weights", "text", "network", "process")
        wrong = [name for name in shape if getattr(teacher.config, name) != getattr(config.model, name)]
        if wrong:
            raise InputError(
                f"model.{wrong[0]} {getattr(config.model, wrong[0])}; expected that of the teacher "
                f"{config.train.start_from!r}, {getattr(teacher.config, wrong[0])}"
            )
        return teacher.to(self.device)

    def _objective(self) -> Objective:
        config = self.config
        assert config.distill is not None
        with self.fresh_weights():
            self.change = LowRank(self.model.network.state_dict(), config.distill.rank).to(self.device)
        return DistilledObjective(self.model, config.train, config.distill, self.change)

    @property
    def identity(self) -> str:
        """Of the run and of its teacher's weights."""
        return f"{super().identity} taught by {self.model.weights_sha256}"

    def state(self) -> dict[str, Tensor]:
        """All trained tensors by name."""
        return self.change.state_dict()

    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name."""
        return [*self.change.named_parameters()]

    def averaged(self) -> WorldModel:
        """The teacher with the averaged change."""
        assert self.config.distill is not None
        model, change = deepcopy(self.model).to("cpu"), self._averaged_change()
        with torch.no_grad():
            model.network.load_state_dict(change.changed(model.network.state_dict()))
        model.config = replace(model.config, sampling=SamplingDefaults(self.config.distill.steps, 1.0))
        return model.training(False).to(self.device if self.ranks.main else "cpu")

    def keep(self, averaged: WorldModel, folder: Path) -> None:
        """Write the averaged change."""
        train, distill = self.config.train, self.config.distill
        assert train.start_from is not None and distill is not None
        base = train.start_from
        if base not in WorldModel.names():  # from the student's folder, so that both can be moved together
            base = os.path.relpath(base, folder)
        config = StudentConfig(
            self.config.model.name, base, self.model.weights_sha256, distill.rank, averaged.config.sampling
        )
        save_student(config, self._averaged_change(), folder)

    def _averaged_change(self) -> LowRank:
        change = deepcopy(self.change).cpu()
        change.load_state_dict({name: value.cpu() for name, value in self.ema.items()})
        return change
