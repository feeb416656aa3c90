"""Blending Gaussians front to back (Kerbl et al. 2023, eq. 3): what it means, and the readable torch reference.

`blend_all_pairs` is the definition: every Gaussian in every pixel. `blend` gives the same image from tiles of 16x16
pixels: each tile works through the Gaussians that reach it, nearest first, some tens at a time, until nothing behind
them can be seen. Memory grows with the Gaussians and the tiles they reach, never with Gaussians times pixels; the
backward pass recomputes each step instead of keeping it. Both run on any device and are differentiable in everything.
`geometry.gaussians.rendering` chooses between this and the fast paths.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange

from geometry.camera.cameras import Cameras
from geometry.gaussians.projection import NEAR_M, footprints
from geometry.gaussians.splats import Splats
from geometry.shapes import Float, Int
from geometry.values import as_value

TILE = 16
OPAQUE, FAINT, DARK = 0.999, 1 / 255, 1e-4  # most a Gaussian hides; least that counts; no light gets below
_TOGETHER, _TILES = 64, 16  # Gaussians, and tiles, done at once: what a CPU's cache likes
_COLUMNS = 10  # of the features of a Gaussian in an image: see `VisibleSplats`


def blend_all_pairs(
    splats: Splats, camera: Cameras, antialiased: bool = False, exact: bool = False, rows: range | None = None
) -> tuple[Float[torch.Tensor, "3 r w"], Float[torch.Tensor, "1 r w"], Float[torch.Tensor, "1 r w"]]:
    """Blend every Gaussian in every pixel, as blending is defined, by torch's own gradients.

    Args:
        splats: n Gaussians.
        camera: a pinhole camera of batch shape [].
        antialiased: Gaussians smaller than a pixel fade instead of growing.
        exact: nothing is skipped, and nothing stops.
        rows: r rows of the image; all by default.

    Returns:
        rgb [3, r, w], depth times alpha [1, r, w] and alpha [1, r, w].
    """
    seen = footprints(splats, camera)
    colors = splats.colors_from(camera.centers)
    order = seen.depths.argsort(stable=True)
    order = order[seen.depths[order] >= NEAR_M]
    rows = rows or range(camera.hw[0])
    y, x = torch.meshgrid(torch.tensor(list(rows)) + 0.5, torch.arange(camera.hw[1]) + 0.5, indexing="ij")
    dx = x.flatten()[:, None] - seen.means[order, 0]
    dy = y.flatten()[:, None] - seen.means[order, 1]
    a, b, c = seen.conics[order].unbind(-1)
    sigma = (a * dx * dx + c * dy * dy) / 2 + b * dx * dy
    opacity = splats.opacities * seen.compensations if antialiased else splats.opacities
    alpha = (opacity[order] * torch.exp(-sigma)).clamp_max(OPAQUE)
    if not exact:
        alpha = torch.where(alpha < FAINT, 0.0, alpha)
    after = torch.cumprod(1 - alpha, -1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
    weight = alpha * before
    if not exact:
        weight = torch.where(after <= DARK, 0.0, weight)
    layers = weight @ torch.cat([colors[order], seen.depths[order, None], torch.ones_like(colors[order, :1])], -1)
    rgb, depth, shown = layers.T.unflatten(-1, (len(rows), camera.hw[1])).split([3, 1, 1])
    return rgb, depth, shown


@as_value
@dataclass(frozen=True)
class VisibleSplats:
    """The m Gaussians that one image may show, nearest first.

    features  [m, 10] u, v (pixels), conic a, b, c, logarithm of the opacity, red, green, blue, z (metres)
    box       [m, 4] the columns and rows of the tiles each reaches: first and past the last column, then rows
    """

    features: Float[torch.Tensor, "m 10"]
    box: Int[torch.Tensor, "m 4"]


def visible_splats(splats: Splats, camera: Cameras, antialiased: bool) -> VisibleSplats:
    """The Gaussians that one camera may see, and which tiles each reaches."""
    seen = footprints(splats, camera)
    opacity = splats.opacities * seen.compensations if antialiased else splats.opacities
    with torch.no_grad():
        # Where opacity exp(-d^2 / 2) reaches 1/255, in standard deviations; a little more, against rounding.
        reach = (2 * (opacity / FAINT).clamp_min(1).log()).sqrt() * 1.0001 + 1e-3
        spread = reach[:, None] * seen.covariances.diagonal(dim1=-2, dim2=-1).sqrt()
        edge = spread.new_tensor([camera.hw[1], camera.hw[0]])
        first, last = (seen.means - spread).clamp_min(0), torch.minimum(seen.means + spread, edge)
        shown = (seen.depths >= NEAR_M) & (opacity >= FAINT) & (first < last).all(-1)
        index = shown.nonzero()[:, 0]
        index = index[seen.depths[index].argsort(stable=True)]
        start, end = (first[index] / TILE).floor().long(), (last[index] / TILE).ceil().long()
        box = torch.stack([start[:, 0], end[:, 0], start[:, 1], end[:, 1]], -1)
    near = Splats(*(part[index] for part in vars(splats).values()))
    columns = [seen.means[index], seen.conics[index], opacity[index, None].log()]
    columns += [near.colors_from(camera.centers), seen.depths[index, None]]
    return VisibleSplats(torch.cat(columns, -1), box)


def blend(visible: VisibleSplats, hw: tuple[int, int]) -> Float[torch.Tensor, "5 h w"]:
    """Red, green, blue, depth and 1, each the sum over Gaussians weighted by how much of them is seen."""
    grid = (-(-hw[0] // TILE), -(-hw[1] // TILE))
    tiles: Any = _Blend.apply(visible.features, visible.box, grid)
    whole = rearrange(tiles, "(ty tx) (y x) c -> c (ty y) (tx x)", ty=grid[0], y=TILE)
    return whole[:, : hw[0], : hw[1]]


def tile_lists(
    box: Int[torch.Tensor, "m 4"], grid: tuple[int, int]
) -> tuple[Int[torch.Tensor, "pairs"], Int[torch.Tensor, "tiles"], Int[torch.Tensor, "tiles"]]:
    """The Gaussians that reach each tile, in their order, tile after tile; where each list starts, and its length."""
    columns, rows = box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]
    count = columns * rows
    who = torch.arange(len(box), device=box.device).repeat_interleave(count)
    place = torch.arange(len(who), device=box.device) - (count.cumsum(0) - count)[who]
    tile = (box[who, 2] + place // columns[who]) * grid[1] + box[who, 0] + place % columns[who]
    tile, order = tile.sort(stable=True)
    length = tile.bincount(minlength=grid[0] * grid[1])
    return who[order], length.cumsum(0) - length, length


class _Blend(torch.autograd.Function):
    """All tiles of an image: features [m, 10] to [tiles, 256, 5]."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, box: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        lists = tile_lists(box, grid)
        ctx.save_for_backward(features, *lists)
        ctx.grid = grid
        result = features.new_zeros(grid[0] * grid[1], TILE * TILE, 5)
        padded = _padded(features)
        for tiles in _groups(lists[2]):
            corner = _corners(tiles, grid).to(features)
            light = features.new_ones(len(tiles), TILE * TILE)
            for ids in _steps(tiles, *lists, len(features)):
                part, light = _blend_some(padded[ids], light, corner)
                result[tiles] += part
                if not bool((light > DARK).any()):
                    break
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        features, who, start, length = ctx.saved_tensors
        padded = _padded(features)
        total = torch.zeros_like(padded)
        for tiles in _groups(length):
            corner = _corners(tiles, ctx.grid).to(features)
            light = features.new_ones(len(tiles), TILE * TILE)
            kept = []  # what each step began with
            for ids in _steps(tiles, who, start, length, len(features)):
                kept.append((ids, light))
                light = _blend_some(padded[ids], light, corner)[1]
                if not bool((light > DARK).any()):
                    break
            behind = torch.zeros_like(light)
            for ids, before in reversed(kept):
                with torch.enable_grad():
                    inputs = (padded[ids].requires_grad_(), before.detach().requires_grad_())
                    outputs = _blend_some(*inputs, corner)
                some, behind = torch.autograd.grad(outputs, inputs, (gradients[0][tiles], behind))
                total.index_add_(0, ids.flatten(), some.flatten(0, 1))
        return total[:-1], None, None


def _padded(features: Float[torch.Tensor, "m 10"]) -> Float[torch.Tensor, "m1 10"]:
    """With one more, invisible, which fills up lists that are too short."""
    nothing = features.new_zeros(1, _COLUMNS)
    nothing[0, 5] = -1e4
    return torch.cat([features, nothing])


def _groups(length: Int[torch.Tensor, "tiles"]) -> list[Int[torch.Tensor, "some"]]:
    """Tiles whose lists are about equally long, together; those that nothing reaches are left out."""
    order = length.argsort(descending=True, stable=True)
    return list(order[: int((length > 0).sum())].split(_TILES)) if bool((length > 0).any()) else []


def _steps(
    tiles: torch.Tensor, who: torch.Tensor, start: torch.Tensor, length: torch.Tensor, nobody: int
) -> Iterator[Int[torch.Tensor, "t s"]]:
    """The lists of some tiles, up to `_TOGETHER` Gaussians at a time: [t, s] each."""
    start, length = start[tiles, None], length[tiles, None]
    for first in range(0, int(length.max()), _TOGETHER):
        place = torch.arange(first, min(first + _TOGETHER, int(length.max())), device=who.device)
        ids = who[(start + place).clamp_max(len(who) - 1)]
        yield torch.where(place < length, ids, nobody)


def _corners(tiles: Int[torch.Tensor, "t"], grid: tuple[int, int]) -> Int[torch.Tensor, "t 2"]:
    """Column and row of each tile's first pixel."""
    return torch.stack([tiles % grid[1], tiles // grid[1]], -1) * TILE


def _blend_some(
    features: Float[torch.Tensor, "t s 10"], light: Float[torch.Tensor, "t p"], corner: Float[torch.Tensor, "t 2"]
) -> tuple[Float[torch.Tensor, "t p 5"], Float[torch.Tensor, "t p"]]:
    """s Gaussians, nearest first, before the share `light` of what lies behind: what they add, and what is left."""
    centers = torch.arange(TILE, dtype=light.dtype, device=light.device) + 0.5
    u, v, a, b, c, opacity = features[..., :6, None].unbind(-2)
    x = corner[:, None, :1] + centers - u  # [t, s, 16]
    y = corner[:, None, 1:] + centers - v
    along, across = (a / 2) * x * x, opacity - (c / 2) * y * y
    exponent = (across[..., :, None] - along[..., None, :]) - (b * y)[..., :, None] * x[..., None, :]
    alpha = exponent.flatten(-2).exp().clamp_max(OPAQUE)
    alpha = torch.where(alpha >= FAINT, alpha, 0.0)
    after = torch.cumprod(torch.cat([light[:, None], 1 - alpha], 1), 1)
    weight = torch.where(after[:, 1:] > DARK, alpha * after[:, :-1], 0.0)
    values = torch.cat([features[..., 6:], torch.ones_like(features[..., :1])], -1)
    # Finished pixels stay far below what counts, yet above 0, by which the products' slopes would be divided.
    return weight.transpose(1, 2) @ values, after[:, -1].clamp_min(1e-30)
