"""Images of `Splats`: 3D Gaussians blended front to back (Kerbl et al. 2023, eq. 3), differentiable in everything.

The image is cut into tiles of 16x16 pixels, and each tile works through the Gaussians that reach it, nearest first,
some tens at a time, until nothing behind them can be seen. Memory grows with the Gaussians and the tiles they reach,
never with Gaussians times pixels; the way back recomputes each step instead of keeping it. Here is the torch reference,
on any device; `geometry/gaussians/fast_splatting.py` is the same in numba for a CPU, `geometry/interop/gsplat.py` on
CUDA.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange

from geometry.camera.cameras import Cameras
from geometry.gaussians.splats import NEAR_M, Splats, footprints
from geometry.optional import has_numba
from geometry.shapes import Float, Int

TILE = 16
OPAQUE, FAINT, DARK = 0.999, 1 / 255, 1e-4  # most a Gaussian hides; least that counts; no light gets below
_TOGETHER, _TILES = 64, 16  # Gaussians, and tiles, done at once: what a CPU's cache likes
_COLUMNS = 10  # of what is known of a Gaussian in an image: see `_Seen`

Backend = Literal["torch", "numba", "gsplat"]


def render_splats(
    splats: Splats,
    cameras: Cameras,
    background: Float[torch.Tensor, "3"] | None = None,
    antialiased: bool = False,
    backend: Backend | None = None,
) -> tuple[Float[torch.Tensor, "*b 3 h w"], Float[torch.Tensor, "*b 1 h w"], Float[torch.Tensor, "*b 1 h w"]]:
    """What pinhole cameras of batch shape b see: rgb (sRGB), depth (z in metres, 0 = nothing there) and alpha (0..1).

    background   rgb behind the Gaussians (black by default)
    antialiased  Gaussians smaller than a pixel fade instead of growing (Yu et al. 2023, "Mip-Splatting")
    backend      None = gsplat on CUDA; numba on a CPU in float32 where it is installed; else torch

    Depth is the mean over what is seen, weighted by how much. A Gaussian counts in a pixel where its opacity there is
    1/255 or more, and hides at most 0.999; a pixel is finished before the Gaussian that would leave it a share of the
    light behind of 1e-4 or less. Gaussians whose centers are less than a centimetre ahead are not seen.
    Raises InputError for cameras that are no pinholes, and for a backend that is missing or cannot do it.
    """
    cameras.check_pinhole("splats")
    cameras = cameras.to(splats.means.dtype).to(splats.means.device)
    backend = backend or _backend_for(splats)
    flat = cameras.reshape(-1)
    if backend == "gsplat":
        from geometry.interop.gsplat import rasterize_gsplat

        layers = rasterize_gsplat(splats, flat, antialiased)
    else:
        layers = splats.means.new_zeros(len(flat), 5, *cameras.hw)
        images = [_image(_Seen.by(splats, flat[i], antialiased), cameras.hw, backend) for i in range(len(flat))]
        layers = torch.stack(images) if images else layers
    rgb, depth, alpha = layers.reshape(*cameras.shape, 5, *cameras.hw).split([3, 1, 1], -3)
    if background is not None:
        rgb = rgb + (1 - alpha) * background.to(rgb)[:, None, None]
    return rgb, depth / torch.where(alpha > 0, alpha, torch.ones_like(alpha)), alpha


def _backend_for(splats: Splats) -> Backend:
    if splats.means.device.type == "cuda":
        return "gsplat"
    plain = splats.means.device.type == "cpu" and splats.means.dtype == torch.float32
    return "numba" if plain and has_numba() else "torch"


@dataclass(frozen=True)
class _Seen:
    """The m Gaussians that one image may show, nearest first.

    features  [m, 10] u, v (pixels), conic a, b, c, logarithm of the opacity, red, green, blue, z (metres)
    box       [m, 4] the columns and rows of the tiles each reaches: first and past the last column, then rows
    """

    features: Float[torch.Tensor, "m 10"]
    box: Int[torch.Tensor, "m 4"]

    @staticmethod
    def by(splats: Splats, camera: Cameras, antialiased: bool) -> "_Seen":
        """What one camera sees."""
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
        return _Seen(torch.cat(columns, -1), box)


def _image(seen: _Seen, hw: tuple[int, int], backend: Backend) -> Float[torch.Tensor, "5 h w"]:
    """Red, green, blue, depth and 1, each weighted by what is seen of them."""
    if backend == "numba":
        from geometry.gaussians.fast_splatting import blend_cpu

        return blend_cpu(seen.features, seen.box, hw)
    grid = (-(-hw[0] // TILE), -(-hw[1] // TILE))
    tiles: Any = _Blend.apply(seen.features, seen.box, grid)
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
    """With one more that nobody sees, where lists are too short."""
    nothing = features.new_zeros(1, _COLUMNS)
    nothing[0, 5] = -1e4
    return torch.cat([features, nothing])


def _groups(length: Int[torch.Tensor, "tiles"]) -> list[Int[torch.Tensor, "some"]]:
    """Tiles whose lists are about equally long, together; those that nothing reaches are left out."""
    order = length.argsort(descending=True, stable=True)
    return list(order[: int((length > 0).sum())].split(_TILES)) if bool((length > 0).any()) else []


def _steps(tiles: Any, who: Any, start: Any, length: Any, nobody: int) -> Any:
    """The lists of some tiles, so many Gaussians at a time: [t, s] each."""
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
