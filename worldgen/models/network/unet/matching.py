"""Matching: how well the sources agree at depths of a frame's pixels, for a network to decide by.

Beside the frames' features each source brings its own estimate of depth, which says whether it sees a place or
something before it; so with one source, where nothing can be matched, that estimate is what is found again.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.models.network.unet.lookup import FrameRays, Sources

_FACTS = 6  # of one source at one place, beside features
_PRIOR = 3
_SHARP, _SOFT = 12.0, 3.0  # per unit of inverse depth


@as_value
@dataclass(frozen=True)
class Prior:
    """What is known of the depth of every frame before anything is matched.

    inverse  [b, f, 1, h, w] inverse depth, normalized units
    known    [b, f, 1, h, w] how much of it is known, 0..1
    """

    inverse: Float[Tensor, "b f 1 h w"]
    known: Float[Tensor, "b f 1 h w"]


def source_facts(ratio: Tensor, seen: Tensor, inverse: Tensor, own: Tensor, known: Tensor, apart_s: Tensor) -> Tensor:
    """Facts [b, k, facts, ...] of sources at places: whether the place is on, before or behind the source's own
    surface, how much nearer the source is, how long ago it was.

    ratio    [b, k, ...] depth in the source over depth in the frame
    inverse  [b, ...] in the frame
    own, known  [b, k, ...] the source's own inverse depth there, and how much it is known
    apart_s  [b, k, f] seconds between the frame and the source
    """
    there = (inverse[:, None] / ratio.clamp_min(1e-2)).clamp_max(6.0)
    behind = known * (own - there)
    on_surface = known * torch.exp(-_SHARP * behind.abs())
    time = (apart_s.abs() / (1 + apart_s.abs()))[..., None, None].expand_as(ratio)
    nearer = ratio.clamp(1 / 4, 4).log()
    facts = [on_surface, (_SOFT * behind).tanh(), known, nearer, time, torch.ones_like(ratio)]
    return seen[:, :, None] * torch.stack(facts, 2)


class Matching(nn.Module):
    """Features of m hypotheses of depth for every pixel, each the same function of what is found there.

    The sources' features are averaged with weights of their own, which are small for those that disagree with the plain
    mean or do not see the place by their own depth.

    Args:
        channels: Of the frames' features.
        outputs: Features of a hypothesis; its score, one number, comes beside them.
        width: Of the hidden layer.
    """

    def __init__(self, channels: int, outputs: int, width: int = 24):
        super().__init__()
        self.weight = nn.Linear(channels + _FACTS, 1)
        nn.init.zeros_(self.weight.weight)
        self.hidden = nn.Linear(2 * channels + _FACTS + 2 + _PRIOR, width)
        self.outputs = nn.Linear(width, outputs + 1)

    def forward(
        self,
        features: Float[Tensor, "b f c h w"],
        depth: Prior,
        rays: FrameRays,
        inverse: Float[Tensor, "b f m n"],
        prior: Float[Tensor, "b f 2 n"],
        apart_s: Float[Tensor, "b k f"],
    ) -> tuple[Float[Tensor, "b f o m n"], Float[Tensor, "b f m n"]]:
        """features, depth  of all frames, of which the sources' are looked up
        inverse  the hypotheses
        prior    what the frame's own prior says of each pixel: inverse depth, and how much it is known

        Returns features of each hypothesis, and its score.
        """
        sources: Sources = rays.sources
        places = rays.places(inverse)
        own = torch.cat([features, depth.inverse, depth.known], 2)
        found = places.of(sources.of_frames(own))
        found, own_inverse, own_known = found.split([features.shape[2], 1, 1], 2)
        seen = places.seen
        facts = source_facts(places.ratio, seen, inverse, own_inverse[:, :, 0], own_known[:, :, 0], apart_s)
        share = seen / seen.sum(1, keepdim=True).clamp_min(1)
        mean = (share[:, :, None] * found).sum(1, keepdim=True)
        weight = self._weights((found - mean).square(), facts) * seen
        total = weight.sum(1, keepdim=True)
        share = (weight / total.clamp_min(1e-3))[:, :, None]
        mean = (share * found).sum(1)
        spread = ((share * (found - mean[:, None]).square()).sum(1) + 1e-4).sqrt()
        count = seen.sum(1)
        numbers = torch.stack([total[:, 0], (count > 1).to(count)], 1)
        of_prior = _closeness(inverse, prior)
        joined = torch.cat([mean, spread, (share * facts).sum(1), numbers, of_prior], 1)
        hidden = F.silu(_per_place(self.hidden, joined))
        out, score = _per_place(self.outputs, hidden).split([self.outputs.out_features - 1, 1], 1)
        return out.transpose(1, 2), score[:, 0]

    def _weights(self, apart: Tensor, facts: Tensor) -> Tensor:
        """[b, k, ...] of each source, 0..1."""
        by_features, by_facts = self.weight.weight.split([apart.shape[2], _FACTS], 1)
        score = torch.einsum("oc,bkcfmn->bkfmn", by_features, apart) + torch.einsum("oc,bkcfmn->bkfmn", by_facts, facts)
        return (score + self.weight.bias).sigmoid()


def _closeness(inverse: Float[Tensor, "b f m n"], prior: Float[Tensor, "b f 2 n"]) -> Float[Tensor, "b 3 f m n"]:
    """How near hypotheses are to the frame's prior."""
    own, known = prior[:, :, None].unbind(3)
    apart = inverse - own
    facts = [known * torch.exp(-_SOFT * apart.abs()), known * torch.exp(-_SHARP * apart.abs()), known.expand_as(apart)]
    return torch.stack(facts, 1)


def _per_place(layer: nn.Linear, x: Float[Tensor, "b c f m n"]) -> Tensor:
    """A linear layer over the channels of every place, by one product."""
    out = torch.matmul(layer.weight, x.flatten(2)) + layer.bias[:, None]
    return out.unflatten(2, x.shape[2:])
