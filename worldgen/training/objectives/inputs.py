"""A batch as the network is given it, and what the network predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import Normalization
from worldgen.models.world_model import WorldModel
from worldgen.sampling.process import per_channel
from worldgen.training.batches.batch import Batch


@dataclass(frozen=True)
class NetworkInputs:
    """Clean latent frames x0 [b, f, c, h, w], how much of each number is known, and what the network is given of them:
    frames x at levels [b, f, m] with their conditioning."""

    x0: Tensor
    known: Tensor
    level: Tensor
    x: Tensor
    conditioning: Conditioning


@dataclass(frozen=True)
class Prediction:
    """The clean estimate x0 [b, f, c, h, w], and the tokens [b, f, n, c] of this process's frames that leave the tapped
    block."""

    x0: Tensor
    tokens: Tensor | None = None


def network_inputs(model: WorldModel, batch: Batch, level: Float[Tensor, "b f m"]) -> NetworkInputs:
    """A batch at levels, but for what is unknown and can't be given."""
    normalization = batch.normalization()
    x0, known, level = encode(model, batch.clip, normalization, level)
    x = model.config.process.add_noise(x0, batch.noise, per_channel(level, model.channels))
    return NetworkInputs(x0, known, level, x, condition(model, batch, normalization))


def predict(model: WorldModel, inputs: NetworkInputs, tap: int | None = None) -> Prediction:
    """The model's clean estimate, and the tokens that leave block `tap`."""
    if tap is None:
        return Prediction(model.denoiser()(inputs.x, inputs.level, inputs.conditioning))
    tokens: list[Tensor] = []

    def tapped(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        estimate, leaving = model.network(x, level, conditioning, tap=tap)
        tokens.append(leaving)
        return estimate

    estimate = model.denoiser(tapped)(inputs.x, inputs.level, inputs.conditioning)
    return Prediction(estimate, tokens[0])


@torch.no_grad()
def encode(
    model: WorldModel, clip: Clip, normalization: Normalization, level: Float[Tensor, "b f m"]
) -> tuple[Tensor, Tensor, Float[Tensor, "b f m"]]:
    """Latent frames of clips, how much of each number is known, and levels at which nothing unknown is given.

    Depth that is not known everywhere and layouts that are not known are at level 1 where they were to be given.
    """
    codec = model.codec
    depth_known = (clip.depth > 0).to(clip.rgb)
    signals = {
        "rgb": clip.rgb,
        "depth": normalization.signal_from_depth(torch.where(clip.depth > 0, clip.depth, torch.inf)),
    }
    known = codec.encode_known(depth_known)
    level = level.clone()
    whole = {"depth": depth_known.flatten(2).amin(-1) > 0}
    if "layout" in codec.modalities():
        layout = torch.full_like(clip.rgb, torch.nan) if clip.layout is None else clip.layout
        whole["layout"] = layout.isfinite().flatten(2).all(-1)
        signals["layout"] = layout.nan_to_num()
        parts = known.split(list(model.channels), 2)
        there = whole["layout"][..., None, None, None].to(known)
        known = torch.cat([p * there if n == "layout" else p for n, p in zip(codec.modalities(), parts)], 2)
    for index, name in enumerate(codec.modalities()):
        if name in whole:
            level[..., index] = torch.where(whole[name] | (level[..., index] > 0), level[..., index], 1.0)
    return codec.encode(signals), known, level


def condition(model: WorldModel, batch: Batch, normalization: Normalization) -> Conditioning:
    """What the network is shown beside the frames."""
    tasks, clip = batch.tasks, batch.clip
    order = tasks.order if bool((tasks.order > 0).any()) else None
    conditioning = replace(
        Conditioning.of(normalization.normalize(clip.cameras)), cameras_known=tasks.cameras_known, order=order
    )
    if model.text is not None:
        tokens, mask = read(model, batch.captions)
        conditioning = replace(conditioning, text=tokens, text_mask=mask & tasks.text_known[:, None])
    if batch.memory is not None and model.config.network.memory_channels:
        rgb, depth, visible = batch.memory
        visible = visible * tasks.memory[:, None, None, None, None]
        signal = normalization.signal_from_depth(torch.where(depth > 0, depth, torch.inf))
        conditioning = replace(conditioning, memory=model.config.codec.encode_memory(rgb, signal, visible))
    return conditioning


def read(model: WorldModel, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Text tokens and their mask on the model's device."""
    assert model.text is not None
    tokens, mask = model.text.encode(captions)
    return tokens.to(model.device), mask.to(model.device)
