"""Coarse clips that a second stage is trained on: what the first stage makes of the same task, or degraded truth."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.modalities import MODALITIES, signals_of, stacked_signals
from worldgen.core.normalization import Normalization
from worldgen.models.world_model import WorldModel
from worldgen.sampling.process import per_channel
from worldgen.training.batches.batch import Batch
from worldgen.training.objectives.conditioning import condition

_LARGEST_BLUR = 8  # pixels of the first stage that are one
_DEPTH_NOISE = 0.3


@torch.no_grad()
def coarse_signals(
    model: WorldModel, batch: Batch, normalization: Normalization, level: Float[Tensor, "b f m"]
) -> Float[Tensor, "b f 4 y x"]:
    """rgb and depth signals [b, f, 4, y, x] of a batch's clips at the first stage's size, NaN where there are none.

    By the clip's own random numbers they are what one call of the first stage makes of what is given, or the truth,
    blurred and with smooth errors of depth, or missing.
    """
    first, tasks = model.coarse, batch.tasks
    assert first is not None, f"{model.config.name} has no first stage"
    clip = batch.clip.shrunk(first.config.size_within(batch.clip.cameras.hw))
    truth = stacked_signals(clip, normalization, ("rgb", "depth"))
    noise = _shrunk_noise(batch.noise, truth)
    share = tasks.degrading[:, 0]
    degraded, missing = batch.degraded, batch.no_coarse
    out = torch.where(_rows(share < degraded), _degraded(truth, noise, tasks.degrading[:, 1:]), truth)
    made = (share >= degraded + missing).nonzero().flatten()
    if len(made):
        conditioning = condition(first, replace(batch, clip=clip)[made], normalization[made])
        out[made] = _made(first, clip[made], normalization[made], level[made], noise[made], conditioning)
    return torch.where(_rows((share >= degraded) & (share < degraded + missing)), torch.nan, out)


def _made(
    first: WorldModel, clip: Clip, normalization: Normalization, level: Tensor, noise: Tensor,
    conditioning: Conditioning,
) -> Float[Tensor, "b f 4 y x"]:  # fmt: skip
    """What one call of the first stage makes of clips, given what is at level 0."""
    signals, _ = signals_of(clip, normalization, first.modalities)
    latent = first.codec.encode(signals)
    folded = first.codec.encode({"rgb": MODALITIES["rgb"].unsigned(noise[:, :, :3]), "depth": noise[:, :, 3:]})
    asked = (level > 0).to(level)
    x = first.config.process.add_noise(latent, folded, per_channel(asked, first.channels))
    made = first.decode(first.denoiser()(x, asked, conditioning), normalization, clip.cameras)
    return stacked_signals(made, normalization, ("rgb", "depth"))


def _degraded(truth: Tensor, noise: Tensor, draws: Float[Tensor, "b 4"]) -> Tensor:
    """Blurred by 2 to 8 pixels, depth off by a share that varies smoothly."""
    b, f = truth.shape[:2]
    flat = truth.flatten(0, 1)
    blurred = [flat]
    for size in (2, 4, _LARGEST_BLUR):
        small = F.avg_pool2d(flat, size)
        blurred.append(F.interpolate(small, size=flat.shape[-2:], mode="bilinear"))
    stack = torch.stack(blurred).unflatten(1, (b, f))
    chosen = stack[(draws[:, 0] * len(blurred)).long().clamp_max(len(blurred) - 1), torch.arange(b)]
    rgb, depth = chosen.split([3, 1], 2)
    smooth = F.avg_pool2d(noise[:, :, 3:].flatten(0, 1), _LARGEST_BLUR) * _LARGEST_BLUR
    smooth = F.interpolate(smooth, size=flat.shape[-2:], mode="bilinear").unflatten(0, (b, f))
    wrong = 1 + _DEPTH_NOISE * _rows(draws[:, 1].square()) * smooth
    return torch.cat([rgb, (depth + 1) * wrong.clamp(0.3, 3) - 1], 2)


def _shrunk_noise(noise: Float[Tensor, "b f 4 h w"], like: Tensor) -> Tensor:
    """Some of the noise, as much as a smaller clip needs."""
    height, width = like.shape[-2:]
    step = noise.shape[-1] // width
    return noise[..., ::step, ::step][..., :height, :width]


def _rows(values: Tensor) -> Tensor:
    """Values of clips [b], to be spread over [b, f, c, h, w]."""
    return values[:, None, None, None, None]
