"""Gaussian rasterisation as it is defined: every Gaussian in every pixel, by torch's own gradients."""

import torch
from torch import Tensor

from geometry.cameras import Cameras
from geometry.splats import Splats, footprints


def all_pairs(splats: Splats, camera: Cameras, antialiased: bool = False, exact: bool = False) -> tuple[Tensor, ...]:
    """rgb [3, h, w], accumulated depth [1, h, w] and alpha [1, h, w] of one camera.

    exact  nothing is skipped, and nothing stops
    """
    seen = footprints(splats, camera)
    colours = splats.colours_from(camera.centres)
    order = seen.depths.argsort(stable=True)
    order = order[seen.depths[order] >= 0.01]
    height, width = camera.hw
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dx = columns.flatten()[:, None] - seen.means[order, 0]
    dy = rows.flatten()[:, None] - seen.means[order, 1]
    a, b, c = seen.conics[order].unbind(-1)
    sigma = (a * dx * dx + c * dy * dy) / 2 + b * dx * dy
    opacity = splats.opacities * seen.compensations if antialiased else splats.opacities
    alpha = (opacity[order] * torch.exp(-sigma)).clamp_max(0.999)
    if not exact:
        alpha = torch.where(alpha < 1 / 255, 0.0, alpha)
    after = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    weight = alpha * before
    if not exact:
        weight = torch.where(after <= 1e-4, 0.0, weight)
    layers = weight @ torch.cat([colours[order], seen.depths[order, None], torch.ones_like(colours[order, :1])], -1)
    return layers.T.unflatten(-1, camera.hw).split([3, 1, 1])
