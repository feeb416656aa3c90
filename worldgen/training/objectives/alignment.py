"""Geometry forcing: tokens of the middle block have to carry the geometry of their pixels.

Wu et al. 2025, "Geometry Forcing", align a video model's inner features with those of a trained geometry network. The
geometry of the scenes here is known exactly, so a small head reads each token's point, normal and nearness from the
block, and is trained with the network for the first part of a run. It is no part of the model.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.camera.projection import unproject
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization
from worldgen.models.network.context_parallel import Context
from worldgen.models.network.protocol import Network
from worldgen.training.objectives.term import Progress, Term, TrainingStep


@as_value
@dataclass(frozen=True)
class TokenGeometry:
    """The geometry of each token's pixels, in the axes of the reference camera.

    values  [b, f, n, 7] point (in scene scales, drawn into the unit ball by p / (1 + |p|)), normal (of length 1 before
            it is averaged, away from the frame's camera), and `Normalization.signal_from_depth`: means over the pixels
            that have them
    known   [b, f, n, 7] the share of those pixels; a normal needs a pixel's neighbors to the right and below as well.
            At outlines it is that of the step from one surface to the next
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
        normals = torch.linalg.cross(_slope(points, 3), _slope(points, 2))
        normals = normals / _length(normals).clamp_min(1e-12)
        inside = points / (1 + _length(points))
        known, near = (rearrange(pixels, "b f 1 h w -> b f h w 1") for pixels in (known, near))
        share = torch.cat([known.expand(inside.shape), _sloped(known).expand(inside.shape), known], -1).to(depth)
        sums = _by_token(torch.cat([inside, normals, near], -1) * share, block)
        counted = _by_token(share, block)
        return TokenGeometry(sums / counted.clamp_min(1e-3), counted)


def _length(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 1"]:
    """Lengths; `torch.linalg.vector_norm` takes twenty times as long where the coordinates are stored apart."""
    return vectors.square().sum(-1, keepdim=True).sqrt()


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


class Alignment(Term):
    """Error of the geometry that a head reads from the tokens leaving block n // 2 of n, for the first part of a run.

    weight  of the error
    until   share of the run
    """

    def __init__(self, network: Network, weight: float, until: float):
        super().__init__()
        width = network.config.width
        self.weight, self.until, self.block = weight, until, len(network.blocks) // 2
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 7))

    def tap(self, progress: Progress) -> int | None:
        """The middle block, as long as the term is on."""
        return self.block if progress.before(self.until) else None

    def forward(self, step: TrainingStep) -> tuple[Tensor, dict[str, Tensor]]:
        """Part "geometry", as long as the term is on."""
        if not step.progress.before(self.until):
            # Data parallelism waits for a gradient of every parameter.
            return 0 * torch.stack([p.sum() for p in self.parameters()]).sum(), {}
        tokens = step.prediction.tapped
        assert tokens is not None, "the network was not tapped"
        truth = TokenGeometry.of(step.batch.clip, step.batch.normalization(), step.model.codec.block)
        with step.autocast():
            part = self.error(tokens, truth, step.model.network.context)
        return self.weight * part, {"geometry": part}

    def error(self, tokens: Float[Tensor, "b f n c"], truth: TokenGeometry, context: Context | None = None) -> Tensor:
        """Mean squared error of what is read from tokens; each clip counts the same.

        context  the processes that share the clips' frames, of which each has the tokens of its own
        """
        read = self.head(F.rms_norm(tokens, tokens.shape[-1:])).float()
        if context is not None:
            read = context.join(read, 1)
        error = (read - truth.values).square() * truth.known
        return (error.sum((1, 2, 3)) / truth.known.sum((1, 2, 3)).clamp_min(1)).mean()
