"""Geometry forcing: a token of the middle block has to know the surface it stands for.

Wu et al. 2025, "Geometry Forcing", align a video model's inner features with those of a trained geometry network. The
scenes here know their geometry exactly, so a small head reads each token's point, normal and nearness off the block,
and learns with the network for the first part of a run. It is no part of the model.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.camera.projection import unproject
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization
from worldgen.models.network.dit import MultiViewDiT
from worldgen.models.world_model import WorldModel
from worldgen.training.config.train import TrainConfig
from worldgen.training.objectives.loss import Batch, Objective


@dataclass(frozen=True)
class TokenGeometry:
    """What tokens stand for, in the axes of the reference camera.

    values  [b, f, n, 7] point (in scene scales, drawn into the unit ball by p / (1 + |p|)), normal (of length 1 before
            it is averaged, away from the frame's camera), and `Normalization.signal_from_depth`: means over the pixels
            that have them
    known   [b, f, n, 7] the share of those; a normal needs a pixel's neighbors to the right and below as well. At
            outlines it is that of the step from one surface to the next
    """

    values: Float[Tensor, "b f n 7"]
    known: Float[Tensor, "b f n 7"]

    @staticmethod
    @torch.no_grad()
    def of(clip: Clip, normalization: Normalization, block: int) -> "TokenGeometry":
        """Of tokens of block x block pixels, by the clip's exact depth; the sky counts as unknown."""
        known = clip.depth.isfinite() & (clip.depth > 0)
        near = normalization.signal_from_depth(torch.where(known, clip.depth, torch.inf))
        depth = torch.where(known, clip.depth / normalization.scale[:, None, None, None, None], 1.0)
        points = unproject(normalization.normalize(clip.cameras), depth)
        normals = F.normalize(torch.linalg.cross(_slope(points, 3), _slope(points, 2)), dim=-1)
        inside = points / (1 + points.norm(dim=-1, keepdim=True))
        known, near = (rearrange(pixels, "b f 1 h w -> b f h w 1") for pixels in (known, near))
        share = torch.cat([known.expand(inside.shape), _sloped(known).expand(inside.shape), known], -1).to(depth)
        sums = _by_token(torch.cat([inside, normals, near], -1) * share, block)
        counted = _by_token(share, block)
        return TokenGeometry(sums / counted.clamp_min(1e-3), counted)


def _slope(points: Float[Tensor, "b f h w 3"], dim: int) -> Float[Tensor, "b f h w 3"]:
    """From each pixel's point to the next one's; the last has the slope of the one before."""
    last, before = points.narrow(dim, -1, 1), points.narrow(dim, -2, 1)
    return points.diff(dim=dim, append=2 * last - before)


def _sloped(known: Bool[Tensor, "b f h w 1"]) -> Bool[Tensor, "b f h w 1"]:
    """Pixels with known neighbors both ways, as `_slope` takes them."""
    for dim in (2, 3):
        here, following = known.narrow(dim, 0, known.shape[dim] - 1), known.narrow(dim, 1, known.shape[dim] - 1)
        both = here & following
        known = torch.cat([both, both.narrow(dim, -1, 1)], dim)
    return known


def _by_token(pixels: Float[Tensor, "b f h w c"], block: int) -> Float[Tensor, "b f n c"]:
    return reduce(pixels, "b f (h p) (w q) c -> b f (h w) c", "mean", p=block, q=block)


class Alignment(nn.Module):
    """The head that reads geometry off the tokens that leave block n // 2 of n. It becomes the network's `listener`.

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
                self._tokens = tokens

        network.listener = listen

    def forward(self, network: MultiViewDiT, truth: TokenGeometry) -> Float[Tensor, ""]:
        """Mean squared error for the tokens of the network's last call; each clip counts the same."""
        assert self._tokens is not None, "the network has not been called"
        tokens, self._tokens = self._tokens, None
        said = self.head(F.rms_norm(tokens, tokens.shape[-1:])).float()
        if network.context is not None:
            said = network.context.join(said, 1)
        error = (said - truth.values).square() * truth.known
        return (error.sum((1, 2, 3)) / truth.known.sum((1, 2, 3)).clamp_min(1)).mean()


class AlignedObjective(Objective):
    """The ordinary loss, and beside it what the network's tokens do not know of the geometry."""

    def __init__(self, model: WorldModel, config: TrainConfig, alignment: Alignment):
        super().__init__(model, config)
        self.alignment = alignment

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts by name, "geometry" among them as long as the alignment is on."""
        total, parts = super().forward(batch)
        if not self.alignment.on:
            # Data parallelism waits for a gradient of every parameter.
            return total + 0 * torch.stack([p.sum() for p in self.alignment.parameters()]).sum(), parts
        truth = TokenGeometry.of(batch.clip, batch.normalization(), self.model.codec.block)
        with self._autocast(batch.noise):
            parts["geometry"] = self.alignment(self.network, truth)
        return total + self.config.alignment_weight * parts["geometry"], parts
