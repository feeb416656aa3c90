"""The training objective: the clean signal is predicted, its error weighed by the level it was seen at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.models.world_model import WorldModel
from worldgen.runtime.precision import computes_half
from worldgen.sampling.process import per_channel
from worldgen.training.batches.task_sampling import Tasks
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.consistency import disagreement
from worldgen.training.weighting import weight


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    clip          [b, f] frames; depth 0 and layout NaN are unknown
    captions      of each clip
    tasks         what each is asked
    noise         [b, f, c, h, w] standard normal
    scale_jitter  [b] factors on each clip's scene scale
    memory        rgb, z-depth and visibility [b, f, _, h, w] of a memory render; None = none
    """

    clip: Clip
    captions: tuple[str, ...]
    tasks: Tasks
    noise: Float[Tensor, "b f c h w"]
    scale_jitter: Float[Tensor, "b"]
    memory: tuple[Tensor, Tensor, Tensor] | None = None

    def normalization(self) -> Normalization:
        """That of each clip, its scale jittered."""
        return Normalization.of(self.clip.cameras, scene_scale(self.clip) * self.scale_jitter)


class Objective(nn.Module):
    """Mean squared error over the columns that are not given, by modality, with the parts weighed as configured.

    One module, so that data parallelism has something to wrap.
    """

    def __init__(self, model: WorldModel, config: TrainConfig):
        super().__init__()
        self.model, self.config = model, config
        self.network, self.words = model.network, model.words

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts by name."""
        model, config = self.model, self.config
        seen = self._seen(batch)
        with self._autocast(seen.x):
            estimate = model.denoiser()(seen.x, seen.level, seen.conditioning)
        total, parts = self._weighed(estimate - seen.x0, seen)
        if config.consistency_weight > 0:
            rgb, level = model.codec.decode(estimate.float())["rgb"], seen.level[..., 0]
            parts["consistency"] = disagreement(rgb, batch.clip, weight(config.weighting, level, config.least_level))
            total = total + config.consistency_weight * parts["consistency"]
        return total, parts

    def _seen(self, batch: Batch) -> "Seen":
        """A batch as the network is shown it."""
        model, clip = self.model, batch.clip
        normalization = batch.normalization()
        x0, known, level = encode(model, clip, normalization, self._levels(batch.tasks.level))
        x = model.config.process.add_noise(x0, batch.noise, per_channel(level, model.channels))
        return Seen(x0, known, level, x, condition(model, batch, normalization))

    def _levels(self, level: Tensor) -> Tensor:
        """The levels that are trained, of those drawn."""
        return level

    def _autocast(self, x: Tensor) -> torch.autocast:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=computes_half(self.config.precision, x.device))

    def _weighed(self, error: Tensor, seen: "Seen") -> tuple[Tensor, dict[str, Tensor]]:
        """The total of the squared error of the clean estimate, and its parts by modality."""
        model, config = self.model, self.config
        t = per_channel(seen.level, model.channels)
        counted = seen.known * (t > 0)
        squared = error.float().square() * weight(config.weighting, t, config.least_level) * counted
        parts: dict[str, Tensor] = {}
        split = (part.split(list(model.channels), 2) for part in (squared, counted))
        for name, part, count in zip(model.config.network.modalities, *split):
            # Each clip counts the same, so that ranks which share a batch evenly have its mean for theirs.
            parts[name] = (part.flatten(1).sum(1) / count.flatten(1).sum(1).clamp_min(1)).mean()
        weights = {"depth": config.depth_weight, "layout": config.layout_weight}
        return torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum(), parts


@dataclass(frozen=True)
class Seen:
    """Clean frames x0 [b, f, c, h, w], how much of each number is known, and what the network is shown of them: frames
    x at levels [b, f, m] with their conditioning."""

    x0: Tensor
    known: Tensor
    level: Tensor
    x: Tensor
    conditioning: Conditioning


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
