"""Textures that repeat, and several in one: files of others have them, `TexturedMesh` has one image from 0 to 1."""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from geometry.errors import InputError, note
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.shapes import Float

Wrap = Literal["repeat", "mirror", "clamp"]  # what is beyond the texture along an axis
_OUT = 1e-6  # how far rounding may take a position out of its texture
_FAR = 10**6  # where float32 no longer tells texels apart
_MAX_SIDE, _MAX_TEXELS = 8192, 2**26
_BORDER = 2  # texels around each image of an atlas that repeat its edge, so that no interpolation mixes two


class AtlasError(InputError):
    """Positions or textures that no one texture holds; which file they are from is the caller's to say."""


def wrapped(
    mesh: Mesh,
    uv: Float[torch.Tensor, "v 2"],
    texture: Float[torch.Tensor, "3 h w"],
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat"),
) -> TexturedMesh:
    """A textured mesh of positions beyond the texture.

    Triangles move by whole textures to where they begin in the first one, for which vertices are split. Where some then
    still reach further, the texture is laid out as often as they need, with fewer texels where that is too large (a
    note says so).

    Args:
        mesh: the mesh.
        uv: positions in units of the texture, from its upper left corner.
        texture: sRGB in 0..1.
        wrap: what is beyond the texture along u and along v.

    Returns:
        The same surface with positions in 0..1; the mesh as it is where they were there.

    Raises:
        AtlasError: positions with NaN or Inf, beyond a million, or so far apart that no texel is left of a texture.
    """
    if bool(((uv >= -_OUT) & (uv <= 1 + _OUT)).all()):
        return TexturedMesh(mesh, uv.clamp(0, 1), texture)
    if not bool((uv.abs() < _FAR).all()):
        raise AtlasError(f"positions in a texture of up to {float(uv.abs().max()):g}; expected less than {_FAR}")
    place = uv.double()
    first = place[mesh.faces].amin(1) + _OUT
    period = torch.tensor([{"repeat": 1.0, "mirror": 2.0, "clamp": math.inf}[mode] for mode in wrap])
    shift = torch.where(period.isinf(), torch.zeros_like(first), (first / period).floor() * period.nan_to_num(0, 1))
    rows = torch.cat([mesh.faces.reshape(-1, 1), shift.long().repeat_interleave(3, 0)], 1)
    split, corner = rows.unique(dim=0, return_inverse=True)
    colors = None if mesh.colors is None else mesh.colors[split[:, 0]]
    cut = Mesh(mesh.vertices[split[:, 0]], corner.reshape(-1, 3), colors)
    place = place[split[:, 0]] - split[:, 1:]
    low = (place.amin(0) + _OUT).floor().clamp_max(0)
    count = (place.amax(0) - _OUT).ceil().clamp_min(1) - low
    laid = _laid_out(texture, wrap, low.long().tolist(), count.long().tolist())
    return TexturedMesh(cut, ((place - low) / count).clamp(0, 1).to(uv.dtype), laid)


def _laid_out(
    texture: Float[torch.Tensor, "3 h w"], wrap: tuple[Wrap, Wrap], low: list[int], count: list[int]
) -> Float[torch.Tensor, "3 rows columns"]:
    """A texture from tile `low` on, `count` times along u and v."""
    sides = [texture.shape[-1], texture.shape[-2]]
    share = min(_MAX_SIDE / max(side * n for side, n in zip(sides, count)), 1.0)
    share = min(share, math.sqrt(_MAX_TEXELS / math.prod(side * n for side, n in zip(sides, count))))
    if share < 1:
        texture = _smaller(texture, share, f"repeating {count[0]} x {count[1]} times")
    for axis, (mode, start, n) in enumerate(zip(wrap, low, count)):
        side = texture.shape[-1 - axis]
        index = torch.arange(start * side, (start + n) * side, device=texture.device)
        if mode == "clamp":
            index = index.clamp(0, side - 1)
        elif mode == "mirror":
            index = index % (2 * side)
            index = torch.where(index < side, index, 2 * side - 1 - index)
        texture = texture.index_select(texture.ndim - 1 - axis, index % side)
    return texture


def merged(parts: Sequence[TexturedMesh]) -> TexturedMesh:
    """Textured meshes as one, their textures side by side in an atlas; equal tensors are there once.

    Args:
        parts: at least one; each texture keeps its resolution, or a share of it (a note says so) where the atlas would
            be larger than 8192 px or 2^26 texels.

    Returns:
        The parts' faces one after another.

    Raises:
        AtlasError: no parts, or more textures than an atlas has room for.
    """
    if not parts:
        raise AtlasError("no textured meshes; expected at least one")
    textures = list({id(part.texture): part.texture for part in parts}.values())
    places, (height, width) = _packed(textures)
    while max(height, width) > _MAX_SIDE or height * width > _MAX_TEXELS:
        share = 0.95 * min(_MAX_SIDE / max(height, width), math.sqrt(_MAX_TEXELS / (height * width)))
        small = [_smaller(texture, share, f"among {len(textures)} in one") for texture in textures]
        again = {id(texture): other for texture, other in zip(textures, small)}
        parts = [TexturedMesh(part.mesh, part.uv, again[id(part.texture)]) for part in parts]
        textures = small
        places, (height, width) = _packed(textures)
    atlas = textures[0].new_zeros(3, height, width)
    at = {}
    for texture, (row, column) in zip(textures, places):
        h, w = texture.shape[-2:]
        edged = torch.nn.functional.pad(texture[None], (_BORDER,) * 4, mode="replicate")[0]
        atlas[:, row : row + h + 2 * _BORDER, column : column + w + 2 * _BORDER] = edged
        at[id(texture)] = torch.tensor([[column + _BORDER, row + _BORDER], [w, h]], dtype=torch.float64)
    size = torch.tensor([width, height], dtype=torch.float64)
    uv = [(at[id(part.texture)][0] + part.uv.double() * at[id(part.texture)][1]) / size for part in parts]
    starts = torch.tensor([0, *(len(part.mesh.vertices) for part in parts)]).cumsum(0).tolist()
    faces = torch.cat([part.mesh.faces + start for part, start in zip(parts, starts)])
    mesh = Mesh(torch.cat([part.mesh.vertices for part in parts]), faces)
    return TexturedMesh(mesh, torch.cat(uv).clamp(0, 1).to(parts[0].uv.dtype), atlas)


def _packed(textures: Sequence[torch.Tensor]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Row and column of each texture with its border, and the atlas's height and width: shelves, the highest first."""
    sizes = [(texture.shape[-2] + 2 * _BORDER, texture.shape[-1] + 2 * _BORDER) for texture in textures]
    width = max(max(w for _, w in sizes), math.ceil(math.sqrt(sum(h * w for h, w in sizes))))
    places = [(0, 0)] * len(sizes)
    row = column = shelf = 0
    for n in sorted(range(len(sizes)), key=lambda n: sizes[n], reverse=True):
        h, w = sizes[n]
        if column + w > width:
            row, column, shelf = row + shelf, 0, 0
        places[n] = (row, column)
        column, shelf = column + w, max(shelf, h)
    return places, (row + shelf, width)


def _smaller(texture: Float[torch.Tensor, "3 h w"], share: float, why: str) -> Float[torch.Tensor, "3 h2 w2"]:
    """A texture of fewer texels along each side, each the mean of those it covers; told in a note."""
    height, width = texture.shape[-2:]
    size = (int(height * share), int(width * share))
    if not min(size):
        raise AtlasError(f"a texture of {width}x{height} px {why}; expected fewer, for one of up to {_MAX_SIDE} px")
    note(f"a texture of {width}x{height} px {why} becomes one of {size[1]}x{size[0]} px")
    return torch.nn.functional.interpolate(texture[None], size, mode="area")[0]
