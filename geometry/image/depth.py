"""Depth maps: looked up between pixels, and their discontinuities."""

import torch

from geometry.image.sampling import sample_at
from geometry.shapes import Bool, Float


def depth_at(
    depth: Float[torch.Tensor, "*b 1 h w"], uv: Float[torch.Tensor, "*b n 2"], mode: str = "bilinear"
) -> tuple[Float[torch.Tensor, "*b n"], Bool[torch.Tensor, "*b n"]]:
    """Depth at pixel positions, inf for sky, and where it is known.

    "bilinear" is the mean of inverse depths, which is exact on planes however slanted; "nearest" the nearest pixel's.
    """
    known = depth > 0
    inverse = torch.where(known, 1 / torch.where(known, depth, 1.0), 0.0)
    there, share = sample_at(torch.cat([inverse, known.to(depth)], -3), uv, mode).unbind(-2)
    return torch.where(there > 0, 1 / torch.where(there > 0, there, 1.0), torch.inf), share > 0.999


def depth_edges(depth: Float[torch.Tensor, "*b 1 h w"], ratio: float) -> Bool[torch.Tensor, "*b 1 h w"]:
    """Pixels at a depth discontinuity, on both of its sides.

    Inverse depth is linear in pixel coordinates over any plane, however slanted, so its second difference along rows
    and columns is zero there (nearly so under a lens); a pixel is at an edge where that difference exceeds `ratio`
    times its own inverse depth. Sky counts as inverse depth 0; unknown neighbors and the image's border give no
    evidence.
    """
    inverse = torch.where(depth > 0, 1 / depth, torch.full_like(depth, torch.nan))
    edge = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (-1, -2):
        count = depth.shape[axis]
        if count < 3:
            continue
        before, here, after = (inverse.narrow(axis, start, count - 2) for start in range(3))
        steps = (torch.where(side.isnan(), here, side) - here for side in (before, after))
        bend = sum(steps, torch.zeros_like(here)).abs()
        edge.narrow(axis, 1, count - 2).logical_or_(bend > ratio * here)
    return edge
