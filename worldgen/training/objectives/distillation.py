"""Distillation into few steps: each step of the student lands where several guided ones of its teacher do.

Progressive distillation (Salimans & Ho 2022, algorithm 2) of a guided teacher (Meng et al. 2023, section 3), all
halvings at once: from noised frames at a level of the student's grid the teacher goes down to the next in
`teacher_steps / steps` Euler steps, and the student is trained on the clean estimate that leads there in one. It is a
change of low rank to the teacher's matrices (`worldgen.models.students`).
"""

import torch
from torch import Tensor
from torch.func import functional_call

from geometry.shapes import Float
from worldgen.models.lora import LowRank
from worldgen.models.world_model import WorldModel
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.process import per_channel
from worldgen.training.config.objectives import DistillConfig
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.denoising import SquaredError
from worldgen.training.objectives.inputs import NetworkInputs, network_inputs
from worldgen.training.objectives.term import Term, TrainingStep


class Distillation(Term):
    """Squared error to where the teacher lands, weighed as in denoising.

    model    the teacher, whose weights stay
    change   to them, which is trained
    """

    def __init__(self, model: WorldModel, config: TrainConfig, distill: DistillConfig):
        super().__init__()
        self.model, self.distill = model, distill
        self.change = LowRank(model.network.state_dict(), distill.rank).to(model.device)
        self.squared_error = SquaredError(model.modalities, config)

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed sum of the modalities' errors, and these by name."""
        inputs = network_inputs(self.model, step.batch, self.levels(step.batch.tasks.level))
        with step.autocast():
            target = self.target(inputs, step.batch.noise)
            estimate = self.student(inputs)
        return self.squared_error(estimate - target, inputs)

    def levels(self, level: Tensor) -> Tensor:
        """Up to the next of the student's levels; what is given stays given."""
        return (level * self.distill.steps).ceil() / self.distill.steps

    def student(self, inputs: NetworkInputs) -> Float[Tensor, "b f c h w"]:
        """The clean estimate of the teacher with the change."""
        model = self.model
        changed = self.change.changed(model.network.state_dict())

        def network(*arguments: object) -> Tensor:
            return functional_call(model.network, changed, arguments)

        return model.denoiser(network)(inputs.x, inputs.level, inputs.conditioning)

    @torch.no_grad()
    def target(self, inputs: NetworkInputs, noise: Tensor) -> Float[Tensor, "b f c h w"]:
        """The clean estimate from which one step leads where the teacher's steps do; anything finite at level 0."""
        model, distill, x, level = self.model, self.distill, inputs.x, inputs.level
        count = distill.teacher_steps // distill.steps
        teacher = guide(model.denoiser(), Guidance(image=distill.guidance), noise)
        after = (level - 1 / distill.steps).clamp_min(0)
        end = x
        for step in range(count):
            here, there = (torch.lerp(level, after, n / count) for n in (step, step + 1))
            end = _stepped(end, teacher(end, here, inputs.conditioning), _kept(here, there, model))
        kept = _kept(level, after, model)
        return torch.where(kept < 1, (end - kept * x) / (1 - kept).clamp_min(1e-6), x)


def _stepped(x: Tensor, x0: Tensor, kept: Tensor) -> Tensor:
    """Euler's step of the flow along x = (1 - t) x0 + t noise."""
    return x0 + (x - x0) * kept


def _kept(level: Tensor, after: Tensor, model: WorldModel) -> Tensor:
    """The share of its distance to the clean estimate that each channel keeps in a step; all where it is at level 0."""
    share = torch.where(level > 0, after / level.clamp_min(1e-6), 1.0)
    return per_channel(share, model.channels)
