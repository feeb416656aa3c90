"""Geometry forcing: halfway through the network, a token has to know the surface it stands for.

Wu et al. 2025, "Geometry Forcing", align a video model's inner features with those of a trained geometry network. The
scenes here know their geometry exactly, so a small head reads each token's point, normal and nearness off the middle
block, and learns with the network for the first part of a run. It is no part of the model.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.projection import unproject
from geometry.shapes import Float
from worldgen.clip import Clip
from worldgen.gauge import NEAREST, Gauge, clip_scale
from worldgen.model import WorldModel
from worldgen.models.dit import MultiViewDiT
from worldgen.training.config import TrainConfig
from worldgen.training.loss import Batch, Objective


@dataclass(frozen=True)
class TokenGeometry:
    """What tokens stand for.

    values  [b, f, n, 7] point (of the reference camera, in scene scales, drawn into the unit ball), unit normal away
            from the frame's camera, and scale / depth - 1; means over the pixels whose depth is known
    known   [b, f, n, 1] the share of those
    """

    values: Float[Tensor, "b f n 7"]
    known: Float[Tensor, "b f n 1"]

    @staticmethod
    @torch.no_grad()
    def of(clip: Clip, gauge: Gauge, block: int) -> "TokenGeometry":
        """Of tokens of block x block pixels, by the clip's exact depth; the sky counts as unknown."""
        known = clip.depth.isfinite() & (clip.depth > 0)
        depth = torch.where(known, clip.depth / gauge.scale[:, None, None, None, None], 1.0)
        points = unproject(gauge.normalise(clip.cameras), depth)
        normals = F.normalize(torch.linalg.cross(_slope(points, 3), _slope(points, 2)), dim=-1)
        inside = points / (1 + points.norm(dim=-1, keepdim=True))
        near = 1 / rearrange(depth, "b f 1 h w -> b f h w 1").clamp_min(NEAREST) - 1
        share = rearrange(known, "b f 1 h w -> b f h w 1").to(depth)
        sums = _by_token(torch.cat([inside, normals, near], -1) * share, block)
        counted = _by_token(share, block)
        return TokenGeometry(sums / counted.clamp_min(1e-3), counted)


def _slope(points: Float[Tensor, "b f h w 3"], dim: int) -> Float[Tensor, "b f h w 3"]:
    """From each pixel's point to the next one's; the last has the slope of the one before."""
    last, before = points.narrow(dim, -1, 1), points.narrow(dim, -2, 1)
    return points.diff(dim=dim, append=2 * last - before)


def _by_token(pixels: Float[Tensor, "b f h w c"], block: int) -> Float[Tensor, "b f n c"]:
    return reduce(pixels, "b f (h p) (w q) c -> b f (h w) c", "mean", p=block, q=block)


class Alignment(nn.Module):
    """The head that reads geometry off the tokens a network has halfway.

    on  whether the network still learns from it
    """

    def __init__(self, network: MultiViewDiT):
        super().__init__()
        width, middle = network.config.width, len(network.blocks) // 2
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 7))
        self.on = True
        self._tokens: Tensor | None = None

        def listen(index: int, tokens: Tensor) -> None:
            if index == middle and self.on:
                self._tokens = tokens if network.context is None else network.context.join(tokens, 1)

        network.listener = listen

    def forward(self, truth: TokenGeometry) -> Float[Tensor, ""]:
        """Mean squared error for the tokens of the network's last call; each clip counts the same."""
        assert self._tokens is not None, "the network has not been called"
        tokens, self._tokens = self._tokens.float(), None
        said = self.head(F.rms_norm(tokens, tokens.shape[-1:]))
        error = (said - truth.values).square().mean(-1, keepdim=True) * truth.known
        return (error.sum((1, 2, 3)) / truth.known.sum((1, 2, 3)).clamp_min(1)).mean()


class AlignedObjective(Objective):
    """The ordinary loss, and beside it what the network's tokens do not know of the geometry."""

    def __init__(self, model: WorldModel, config: TrainConfig, alignment: Alignment):
        super().__init__(model, config)
        self.alignment = alignment

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts by name."""
        total, parts = super().forward(batch)
        if not self.alignment.on:
            # Data parallelism waits for a gradient of every parameter.
            return total + 0 * torch.stack([p.sum() for p in self.alignment.parameters()]).sum(), parts
        gauge = Gauge.of(batch.clip.cameras, clip_scale(batch.clip) * batch.scale_jitter)
        parts["geometry"] = self.alignment(TokenGeometry.of(batch.clip, gauge, self.model.codec.block))
        return total + self.config.alignment_weight * parts["geometry"], parts
