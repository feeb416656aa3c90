"""What a loss term is given, and what it gives."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from worldgen.models.world_model import WorldModel
from worldgen.runtime.precision import autocast
from worldgen.training.batches.batch import Batch
from worldgen.training.objectives.inputs import NetworkInputs, Prediction, network_inputs, predict


@dataclass(frozen=True)
class Progress:
    """How far a run is: `step` steps of `total`, as far as the length is known."""

    step: int = 0
    total: int = 1

    def before(self, share: float) -> bool:
        """Whether less than this share of the run is over."""
        return self.step < share * self.total


class TrainingStep:
    """A step as loss terms get it. What the network is given and what it predicts are computed when the first term asks
    for them, and shared by all.

    Args:
        model: The model that is trained.
        batch: The step's clips.
        progress: How far the run is.
        precision: Of the network's products (`TrainConfig.precision`).
        tap: Block of the network whose tokens the prediction brings along; None = none.
    """

    def __init__(
        self, model: WorldModel, batch: Batch, progress: Progress, precision: str = "fp32", tap: int | None = None
    ):
        self.model, self.batch, self.progress = model, batch, progress
        self._precision, self._tap = precision, tap

    @cached_property
    def inputs(self) -> NetworkInputs:
        """The batch as the network is given it, at the levels of its tasks."""
        return network_inputs(self.model, self.batch, self.batch.tasks.level)

    @cached_property
    def prediction(self) -> Prediction:
        """The network's clean estimate, and the tapped tokens."""
        inputs = self.inputs
        with self.autocast():
            return predict(self.model, inputs, self._tap)

    def autocast(self) -> torch.autocast:
        """Products in the run's precision."""
        return autocast(self._precision, self.batch.noise.device)


class Term(nn.Module):
    """A part of the loss.

    Parameters of a term are trained beside the model's. They are kept in the run's checkpoints under the term's name,
    and are no part of the model that the run leaves.
    """

    def tap(self, progress: Progress) -> int | None:
        """The block of the network whose tokens the term reads at this point of the run; None = none."""
        return None

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """What the term adds to the loss, weighed, and its parts as records hold them by name."""
        raise NotImplementedError
