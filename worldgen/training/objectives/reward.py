"""Fine-tuning on a differentiable geometric reward: new views that agree with each other and with the given images.

The model samples new views in a few steps, gradients go back through the last of them (DRaFT-K: Clark et al. 2023,
"Directly Fine-Tuning Diffusion Models on Differentiable Rewards"), and what is raised is `geometry.image.multiview` by
the generated depth and the known cameras. Neither true depth nor true new views enter. Denoising stays beside it and
keeps what the reward does not measure.

How the reward could rise without better views, and what prevents it: plain images agree with each other, but not with
the given ones, which take part as they are; depth that hides pixels from other views only loses their scores; depth
without parallax (the sky) is wrong between the given images already.
"""

import torch
from torch import Tensor

from geometry.image.multiview import agreement
from geometry.shapes import Float
from worldgen.core.modalities import column
from worldgen.models.world_model import WorldModel
from worldgen.sampling.levels import Levels
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import Euler
from worldgen.training.batches.batch import Batch
from worldgen.training.config.objectives import RewardConfig
from worldgen.training.objectives.term import Term, TrainingStep


class Reward(Term):
    """What clips sampled from a batch lack to a reward of 1."""

    def __init__(self, config: RewardConfig):
        super().__init__()
        self.config = config

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """Part "reward", the higher the better."""
        with step.autocast():
            part = sampled_reward(step.model, step.batch, self.config).mean()
        return self.config.weight * (1 - part), {"reward": part}


def sampled_reward(model: WorldModel, batch: Batch, config: RewardConfig) -> Float[Tensor, "b"]:
    """The agreement within each clip whose first images are given and whose rest is sampled, from the batch's noise.

    All clips are sampled so, whatever their tasks: the images of the first `config.given` frames and all cameras are
    known, no depth, no text and no memory.
    """
    clip, noise = batch.clip, batch.noise
    known = torch.zeros(len(clip), len(model.modalities), dtype=torch.bool)
    known[: config.given, column(model.modalities, "rgb")] = True
    levels = Levels.given(known, config.steps)
    with torch.no_grad():
        signal, conditioning, _ = model.encode(clip, batch.normalization().scale)
    states = sample(model.denoiser(), signal, noise, levels, conditioning, Euler())
    x = noise
    with torch.no_grad():
        for _ in range(config.steps - config.last):
            x = next(states).x
    for state in states:
        x = state.x
    images = model.codec.decode(x.float())
    rgb = torch.cat([clip.rgb[:, : config.given], images["rgb"][:, config.given :]], 1)
    # The signal is scale / depth - 1. With a gradient through how depths agree, depth got worse (docs/results).
    return agreement(rgb, images["depth"] + 1, conditioning.cameras, hold_depths=True)
