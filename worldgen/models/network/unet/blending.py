"""Blending: the colors of a frame from what its sources show at its surfaces, and from colors of the network's own."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.models.network.unet.inputs import FrameInputs
from worldgen.models.network.unet.layers import Residual, conv
from worldgen.models.network.unet.lookup import FrameRays
from worldgen.models.network.unet.matching import Prior, source_facts

_FACTS = 7  # `source_facts` and the angle between rays


@as_value
@dataclass(frozen=True)
class Blend:
    """Colors of frames, and how they came about.

    rgb        [b, f, 3, h, w]
    blended    [b, f, 3, h, w] before the last correction
    looked_up  [b, f, 1, h, w] share of the sources' colors, 0..1
    """

    rgb: Float[Tensor, "b f 3 h w"]
    blended: Float[Tensor, "b f 3 h w"]
    looked_up: Float[Tensor, "b f 1 h w"]


class Blending(nn.Module):
    """Weights over the sources' colors and others, per pixel (Wang et al. 2021, "IBRNet", eq. 5), then a correction.

    Args:
        width: Of the features of each pixel.
    """

    def __init__(self, width: int):
        super().__init__()
        self.of_pixel = conv(width, width, 1)
        self.of_view = conv(6 + _FACTS, width, 1)
        self.hidden, self.score = conv(width, width, 3), conv(width, 1, 1)
        self.own = conv(width, 6)
        self.merge = conv(width + 3 * 2 + 1, width)
        self.last = Residual(width)
        self.correction = conv(width, 3, zero=True)

    def forward(
        self,
        features: Float[Tensor, "b f c h w"],
        inputs: FrameInputs,
        depth: Prior,
        rays: FrameRays,
        inverse: Float[Tensor, "b f 1 h w"],
        apart_s: Float[Tensor, "b k f"],
    ) -> Blend:
        """depth    of all frames, at any resolution, which tells what is hidden
        inverse  of the surfaces that are looked up"""
        b, f, _, h, _ = inverse.shape
        flat = rearrange(inverse, "b f 1 h w -> b f 1 (h w)")
        places = rays.places(flat)
        of_sources = rays.sources.of_frames
        colors = places.of(of_sources(inputs.colors()))
        own = places.of(of_sources(torch.cat([depth.inverse, depth.known], 2))).detach()
        facts = source_facts(places.ratio, places.seen, flat, own[:, :, 0], own[:, :, 1], apart_s)
        facts = torch.cat([facts, (places.seen * rays.cosines(flat))[:, :, None]], 2)
        colors, facts, seen = (
            rearrange(x, "b k c f 1 (h w) -> b k f c h w", h=h) for x in (colors, facts, places.seen[:, :, None])
        )
        mean = (colors * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1)
        views = torch.cat([colors, (colors - mean).abs(), facts], 3)
        k = views.shape[1]
        pixel = self.of_pixel(features.flatten(0, 1)).unflatten(0, (b, f))
        hidden = self.of_view(views.flatten(0, 2)).unflatten(0, (b, k, f)) + pixel[:, None]
        score = self.score(F.silu(self.hidden(F.silu(hidden).flatten(0, 2)))).unflatten(0, (b, k, f))
        score = torch.where(seen > 0, score, -1e4)
        # Beside the sources: a color of its own, the coarse clip's, and the frame's own as far as it is not noise.
        mine, of_others = self.own(features.flatten(0, 1)).unflatten(0, (b, f)).split([3, 3], 2)
        absent = torch.where(inputs.there > 0, 0.0, -1e4)
        weights = torch.cat([torch.zeros_like(absent), absent, inputs.trust[:, :, :1].expand_as(absent)], 2)
        of_others = of_others + weights
        share = torch.cat([rearrange(score, "b k f 1 h w -> b f k h w"), of_others], 2).softmax(2)
        others = torch.stack([mine, inputs.coarse[:, :, :3], inputs.unbiased[:, :, :3]], 2)
        every = torch.cat([colors.transpose(1, 2), others], 2)
        blended = (share[:, :, :, None] * every).sum(2)
        looked_up = share[:, :, :k].sum(2, keepdim=True)
        joined = torch.cat([features, blended, mine, looked_up], 2).flatten(0, 1)
        correction = self.correction(F.silu(self.last(self.merge(joined)))).unflatten(0, (b, f))
        return Blend(blended + correction, blended, looked_up)
