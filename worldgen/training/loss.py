"""The training loss: the clean signal is predicted, its error weighed as the velocity's."""

from dataclasses import replace

import torch
from torch import Tensor

from worldgen.clip import Clip
from worldgen.conditioning import Conditioning
from worldgen.gauge import Gauge, clip_scale
from worldgen.model import WorldModel
from worldgen.sampling.process import per_channel
from worldgen.training.level_sampling import Task

# Below it the velocity's weight stays what it is there, or nearly clean frames would decide everything. Li & He 2025
# ("Back to Basics") use 0.05; small models with little training have no capacity to spend on the last details.
_LEAST_LEVEL = 0.2


def loss(
    model: WorldModel,
    clip: Clip,
    task: Task,
    noise: Tensor,
    scale_jitter: Tensor,
    depth_weight: float,
    half_precision: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared velocity error over the columns that are not given, and its parts.

    The velocity at level t differs from the truth by (x0 error) / t, so that is what is squared.
    noise         [b, f, c, h, w] standard normal
    scale_jitter  [b] factors on each clip's scene scale
    half_precision  compute the network's products in bfloat16
    """
    gauge = Gauge.of(clip.cameras, clip_scale(clip) * scale_jitter)
    x0 = model.config.codec.encode(clip.rgb, gauge.signal_from_depth(clip.depth))
    conditioning = replace(Conditioning.of(gauge.normalise(clip.cameras)), cameras_known=task.cameras_known)
    t = per_channel(task.level, model.channels)
    x = model.config.process.add_noise(x0, noise, t)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half_precision):
        estimate = model.denoiser()(x, task.level, conditioning)
    error = (estimate - x0) / t.clamp_min(_LEAST_LEVEL)
    moving = (t > 0).expand_as(error)
    parts: dict[str, Tensor] = {}
    names = list(model.config.network.modalities)
    pieces = zip(names, error.split(list(model.channels), 2), moving.split(list(model.channels), 2))
    for name, squared, counted in ((n, e.float().square(), m) for n, e, m in pieces):
        parts[name] = (squared * counted).sum() / counted.sum().clamp_min(1)
    weights = {"depth": depth_weight}
    return torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum(), parts
