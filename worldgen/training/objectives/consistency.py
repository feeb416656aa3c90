"""Cross-view consistency: one surface point has one color, from wherever it is seen."""

import torch
from torch import Tensor
from torch.nn import functional as F

from geometry.camera.projection import project, unproject
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.modalities import column
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.term import Term, TrainingStep
from worldgen.training.weighting import weight

_TOLERANCE = 0.02  # relative difference of depths that still belong to one surface


class Consistency(Term):
    """The disagreement of predicted images, each weighed by its level as in denoising."""

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.config = config

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """Part "consistency"."""
        config, model = self.config, step.model
        rgb = model.codec.decode(step.prediction.x0.float())["rgb"]
        level = step.inputs.level[..., column(model.modalities, "rgb")]
        part = disagreement(rgb, step.batch.clip, weight(config.weighting, level, config.least_level))
        return config.consistency_weight * part, {"consistency": part}


def disagreement(rgb: Float[Tensor, "b f 3 h w"], clip: Clip, weights: Float[Tensor, "b f"]) -> Float[Tensor, ""]:
    """Mean squared difference, in units of -1..1, between predicted images and their neighbors' warped onto them.

    rgb      predicted, of the frames of `clip`, whose true depth and cameras say which points both see (each frame and
             the next one, the last and the first)
    weights  [b, f] of each image's error; a pair counts with the lesser

    Still scenes only: a moving point is another point. Colors of glossy surfaces do differ a little.
    """
    other = torch.roll(torch.arange(rgb.shape[1], device=rgb.device), -1)
    sky = ~clip.depth.isfinite()
    points = unproject(clip.cameras, torch.where(sky | (clip.depth <= 0), 1.0, clip.depth))
    there = clip.cameras[:, other]
    uv, z = project(there, points.flatten(-3, -2))
    height, width = clip.cameras.hw
    inside = (z > 0) & (uv >= 0).all(-1) & (uv[..., 0] < width) & (uv[..., 1] < height)
    grid = 2 * uv / uv.new_tensor([width, height]) - 1
    grid = torch.where(inside[..., None], grid, 0.0).unflatten(-2, (height, width)).flatten(0, 1)
    inverse = torch.where(clip.depth > 0, 1 / clip.depth, 0.0)[:, other].flatten(0, 1)
    found = F.grid_sample(inverse, grid, padding_mode="border", align_corners=False)
    same = (found[:, 0].flatten(1).view_as(z) * z - 1).abs() <= _TOLERANCE
    seen = (inside & same & ~(sky | (clip.depth <= 0)).flatten(2)).to(rgb)
    warped = F.grid_sample(
        rgb[:, other].flatten(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    error = (2 * (rgb.flatten(0, 1) - warped)).square().mean(1).flatten(1).view_as(seen)
    pair = torch.minimum(weights, weights[:, other])[..., None] * seen
    return ((error * pair).sum((1, 2)) / seen.sum((1, 2)).clamp_min(1)).mean()
