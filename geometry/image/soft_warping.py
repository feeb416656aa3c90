"""Images moved between cameras by their depth, with gradients to where pixels fall: softmax splatting."""

from itertools import product

import torch
from einops import rearrange

from geometry.camera.cameras import Cameras
from geometry.image.checks import checked_frames, single_camera
from geometry.image.coercion import DepthsLike, FramesLike
from geometry.image.warping import points_or_sky, project_or_sky
from geometry.shapes import Float, Int

_SKY_M = 1e9  # how far the sky is when it stands beside or behind something


def soft_forward_warp(
    rgb: FramesLike,
    depth: DepthsLike,
    sources: Cameras,
    target: Cameras,
    sharpness: float = 20.0,
) -> tuple[Float[torch.Tensor, "3 h2 w2"], Float[torch.Tensor, "1 h2 w2"], Float[torch.Tensor, "1 h2 w2"]]:
    """`forward_warp` with gradients to images, depth and cameras (Niklaus and Liu 2020, "Softmax Splatting").

    Each source pixel is split bilinearly among the four target pixels around the position it falls to. A target pixel
    is the mean of what it gets, weighted by those shares times exp(-sharpness * ln z), which does not depend on the
    unit of length. Sky (inf) moves by direction and lies behind everything; unknown depth (0) does not move.

    Args:
        rgb: Images of the sources [f, 3, h, w], of any range (`geometry.as_frames`).
        depth: Their depth [f, 1, h, w] in metres.
        sources: Cameras [f].
        target: A camera of batch shape [] or [1], of any size.
        sharpness: How strictly the nearer hides the further: at 20, a surface a tenth further weighs a seventh.

    Returns:
        The image [3, h2, w2]; its depth [1, h2, w2] in metres, the inverse of the mean inverse depth, which is exact on
        planes; and the coverage [1, h2, w2], the sum of the shares: about 1 where source and target sample a surface
        alike. Where nothing falls all three are 0.

    Raises:
        InputError: If shapes disagree.
    """
    rgb, depth = checked_frames("soft warp", rgb, depth, sources, beyond=torch.inf)
    target = single_camera(target)
    height, width = target.hw
    points, sky = points_or_sky(depth, sources)
    uv, z = project_or_sky(target, points, sky)
    falls = ((z > 0) & (depth > 0).flatten()).nonzero()[:, 0]
    uv, z, sky = uv[falls] - 0.5, z[falls], sky[falls]
    inverse = torch.where(sky, 0.0, 1 / torch.where(sky, 1.0, z))
    importance = -sharpness * torch.where(sky, _SKY_M, z).log()
    values = torch.cat([rearrange(rgb, "f c h w -> (f h w) c")[falls].to(z), inverse[:, None]], -1)

    source, pixel, share = _shares(uv, target.hw)
    # Each pixel's largest exponent is taken off, which changes no mean and lets nothing overflow or vanish.
    exponent = importance[source]
    largest = torch.full((height * width,), -torch.inf, dtype=z.dtype, device=z.device)
    largest = largest.scatter_reduce(0, pixel[share > 0], exponent.detach()[share > 0], "amax")
    weight = share * (exponent - largest[pixel]).clamp_max(0).exp()

    def gathered(amounts: torch.Tensor) -> torch.Tensor:
        return amounts.new_zeros(height * width, *amounts.shape[1:]).index_add(0, pixel, amounts)

    total, coverage = gathered(weight)[:, None], gathered(share)
    mean = gathered(weight[:, None] * values[source]) / torch.where(total > 0, total, 1.0)
    colors, inverse = mean.split([3, 1], -1)
    away = torch.where(inverse > 0, 1 / torch.where(inverse > 0, inverse, 1.0), torch.where(total > 0, torch.inf, 0.0))
    images = (colors.to(rgb.dtype), away, coverage[:, None])
    made = [rearrange(image, "(h w) c -> c h w", h=height) for image in images]
    return made[0], made[1], made[2]


def _shares(
    uv: Float[torch.Tensor, "n 2"], hw: tuple[int, int]
) -> tuple[Int[torch.Tensor, "m"], Int[torch.Tensor, "m"], Float[torch.Tensor, "m"]]:
    """Bilinear shares of positions (0 is the first pixel's center): of which position, for which pixel, how much."""
    corner = uv.detach().floor()
    part = uv - corner
    sources, pixels, shares = [], [], []
    for right, below in product((0, 1), repeat=2):
        column, row = corner[:, 0] + right, corner[:, 1] + below
        inside = ((column >= 0) & (column < hw[1]) & (row >= 0) & (row < hw[0])).nonzero()[:, 0]
        share = (part[:, 0] if right else 1 - part[:, 0]) * (part[:, 1] if below else 1 - part[:, 1])
        sources.append(inside)
        pixels.append(row[inside].long() * hw[1] + column[inside].long())
        shares.append(share[inside])
    return torch.cat(sources), torch.cat(pixels), torch.cat(shares)
