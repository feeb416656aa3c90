"""Students: the run of a change of low rank to a teacher that stays (`worldgen.training.objectives.distillation`)."""

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.models.lora import LowRank
from worldgen.models.students import StudentConfig, apply_change, save_student
from worldgen.models.world_model import WorldModel
from worldgen.sampling.defaults import SamplingDefaults
from worldgen.training.engine.trainer import Trainer
from worldgen.training.objectives.distillation import Distillation
from worldgen.training.objectives.term import Term


class StudentTrainer(Trainer):
    """A student's run: the teacher's weights stay, and the change to them is trained."""

    def _fresh_model(self) -> WorldModel:
        config = self.config
        assert config.train.start_from is not None and config.distill is not None
        teacher = WorldModel.load(config.train.start_from, "cpu", context=self.ranks.context)
        shape = ("size_px", "frames", "codec", "codec_weights", "text", "network", "process")
        wrong = [name for name in shape if getattr(teacher.config, name) != getattr(config.model, name)]
        if wrong:
            raise InputError(
                f"model.{wrong[0]} {getattr(config.model, wrong[0])}; expected that of the teacher "
                f"{config.train.start_from!r}, {getattr(teacher.config, wrong[0])}"
            )
        return teacher.to(self.device)

    @property
    def change(self) -> LowRank:
        """What is trained."""
        term = self.terms["distillation"]
        assert isinstance(term, Distillation)
        return term.change

    @property
    def identity(self) -> str:
        """Of the run and of its teacher's weights."""
        return f"{super().identity} taught by {self.model.weights_sha256}"

    @property
    def beside(self) -> dict[str, Term]:
        """None: the term's weights are the student."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """All trained tensors by name."""
        return self.change.state_dict()

    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name."""
        return [*self.change.named_parameters()]

    def averaged(self) -> WorldModel:
        """The teacher with the averaged change."""
        assert self.config.distill is not None
        model = deepcopy(self.model).to("cpu")
        config = replace(model.config, sampling=SamplingDefaults(self.config.distill.steps, 1.0))
        averaged = replace(model, config=config, network=apply_change(model.network, self._averaged_change()))
        return averaged.training(False).to(self.device if self.ranks.main else "cpu")

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
