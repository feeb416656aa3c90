"""Denoising: the clean signal is predicted, its error weighed by the level it was made at."""

from collections.abc import Mapping

import torch
from torch import Tensor

from worldgen.core.modalities import MODALITIES
from worldgen.models.world_model import WorldModel
from worldgen.sampling.process import per_channel
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.inputs import NetworkInputs
from worldgen.training.objectives.term import Term, TrainingStep
from worldgen.training.weighting import weight


class SquaredError:
    """Mean squared error of clean estimates over the columns that are not given, by modality.

    modalities  latent channels of each by name, in order
    weights     of each modality's error
    """

    def __init__(self, modalities: Mapping[str, int], config: TrainConfig):
        self.modalities, self.config = modalities, config
        own = {"depth": config.depth_weight, "layout": config.layout_weight}
        self.weights = {name: own[name] if name in own else MODALITIES[name].loss_weight for name in modalities}

    def __call__(self, error: Tensor, inputs: NetworkInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed sum, and the error of each modality."""
        config, channels = self.config, tuple(self.modalities.values())
        t = per_channel(inputs.level, channels)
        counted = inputs.known * (t > 0)
        squared = error.float().square() * weight(config.weighting, t, config.least_level) * counted
        parts: dict[str, Tensor] = {}
        for name, part, count in zip(self.modalities, squared.split(channels, 2), counted.split(channels, 2)):
            # Each clip counts the same, so that ranks which share a batch evenly have its mean for theirs.
            parts[name] = (part.flatten(1).sum(1) / count.flatten(1).sum(1).clamp_min(1)).mean()
        return torch.stack([self.weights[name] * part for name, part in parts.items()]).sum(), parts


class Denoising(Term):
    """The squared error of the network's clean estimate, by modality."""

    def __init__(self, model: WorldModel, config: TrainConfig):
        super().__init__()
        self.squared_error = SquaredError(model.config.network.modalities, config)

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed sum of the modalities' errors, and these by name."""
        inputs = step.inputs
        return self.squared_error(step.prediction.x0 - inputs.x0, inputs)
