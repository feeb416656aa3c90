"""A batch as the network is given it, and what the network predicts."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.modalities import signals_of
from worldgen.core.normalization import Normalization
from worldgen.models.world_model import WorldModel
from worldgen.sampling.process import per_channel
from worldgen.training.batches.batch import Batch
from worldgen.training.objectives.coarse import coarse_signals
from worldgen.training.objectives.conditioning import condition


@as_value
@dataclass(frozen=True)
class NetworkInputs:
    """Clean latent frames x0 [b, f, c, h, w], how much of each number is known, and what the network is given: frames x
    at levels [b, f, m] with their conditioning."""

    x0: Tensor
    known: Tensor
    level: Tensor
    x: Tensor
    conditioning: Conditioning


@as_value
@dataclass(frozen=True)
class Prediction:
    """The clean estimate x0 [b, f, c, h, w], and what the network was tapped for: the tokens [b, f, n, c] of this
    process's frames that leave a block, or details of its own."""

    x0: Tensor
    tapped: Any = None


def network_inputs(model: WorldModel, batch: Batch, level: Float[Tensor, "b f m"]) -> NetworkInputs:
    """A batch at levels; what is unknown is not given, whatever the level says."""
    normalization = batch.normalization()
    x0, known, level = encode(model, batch.clip, normalization, level)
    x = model.config.process.add_noise(x0, batch.noise, per_channel(level, model.channels))
    conditioning = condition(model, batch, normalization)
    if model.coarse is not None:
        conditioning = replace(conditioning, coarse=coarse_signals(model, batch, normalization, level))
    return NetworkInputs(x0, known, level, x, conditioning)


def predict(model: WorldModel, inputs: NetworkInputs, tap: int | None = None) -> Prediction:
    """The model's clean estimate, and what its network returns beside it for `tap`."""
    if tap is None:
        return Prediction(model.denoiser()(inputs.x, inputs.level, inputs.conditioning))
    found: list[Any] = []

    def tapped(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        estimate, leaving = model.network(x, level, conditioning, tap=tap)
        found.append(leaving)
        return estimate

    estimate = model.denoiser(tapped)(inputs.x, inputs.level, inputs.conditioning)
    return Prediction(estimate, found[0])


@torch.no_grad()
def encode(
    model: WorldModel, clip: Clip, normalization: Normalization, level: Float[Tensor, "b f m"]
) -> tuple[Tensor, Tensor, Float[Tensor, "b f m"]]:
    """Latent frames of clips, how much of each number is known, and levels at which nothing unknown is given.

    A frame's map that is not known everywhere is at level 1 where it would be given.
    """
    signals, known = signals_of(clip, normalization, model.modalities)
    latent, level = model.codec.encode(signals), level.clone()
    for index, name in enumerate(model.modalities):
        if name in known:
            whole = known[name].flatten(2).all(-1)
            level[..., index] = torch.where(whole | (level[..., index] > 0), level[..., index], 1.0)
    return latent, model.codec.encode_known({name: mask.to(latent) for name, mask in known.items()}), level
