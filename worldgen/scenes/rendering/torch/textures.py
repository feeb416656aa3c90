"""Colors of procedural textures; `worldgen.scenes.textures` describes the patterns."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from worldgen.scenes.rendering.constants import OCTAVES, WAVES_PER_OCTAVE, octave_waves
from worldgen.scenes.textures import Pattern


def evaluate(columns: Tensor, row: Tensor, point: Tensor, normal: Tensor, footprint: Tensor | None) -> Tensor:
    """The linear color [3, p] at surface points.

    columns    [25, t] one texture a column (`Textures.table`)
    row        [p] which texture each point has
    point      [3, p] metres, in the object's frame
    normal     [3, p] there, which gives the surface's axes to patterns that lie on the surface
    footprint  [p] metres that a pixel covers: finer detail fades into its mean; None = unfiltered
    """
    color = torch.zeros_like(point)
    pattern = columns[23].index_select(0, row)
    present = columns[23].unique().int().tolist()
    for kind in present:
        chosen = (pattern == kind).nonzero().squeeze(-1)
        if len(chosen) == 0:
            continue
        texture = columns.index_select(1, row[chosen])
        width = None if footprint is None else footprint[chosen]
        result = _PATTERNS[Pattern(kind)](TexturePoints(texture, point[:, chosen], normal[:, chosen], width))
        color = color.index_copy(1, chosen, result)
    return color


class TexturePoints:
    """Points with textures of one pattern, whose numbers have names."""

    def __init__(self, rows: Tensor, point: Tensor, normal: Tensor, footprint: Tensor | None):
        self.color_a, self.color_b, wave, phase, weight, rest = rows.split([3, 3, 9, 3, 3, 4])
        self.weight = weight
        self.product, self.sharpness, _, self.grain = rest.unbind(0)
        x, y, z = point.unbind(0)
        self.q = wave[0::3] * x + wave[1::3] * y + wave[2::3] * z + phase
        self.footprint = footprint
        self._wave, self._normal = wave, normal

    def frequency(self) -> Tensor:
        """Radians per metre of the finest of the three coordinates."""
        return (self._wave[0::3].square() + self._wave[1::3].square() + self._wave[2::3].square()).amax(0).sqrt()

    def width(self) -> Tensor | None:
        """The footprint in radians."""
        return None if self.footprint is None else self.footprint * self.frequency()

    def on_surface(self) -> tuple[Tensor, Tensor, Tensor]:
        """The two coordinates along the surface, in periods, and the number of the one left out.

        The one left out is nearest to the normal, so that each side of a box has a plane of its own.
        """
        n = self._normal
        turned = (self._wave[0::3] * n[0] + self._wave[1::3] * n[1] + self._wave[2::3] * n[2]).abs()
        length = (self._wave[0::3].square() + self._wave[1::3].square() + self._wave[2::3].square()).sqrt()
        side = (turned / length.clamp_min(1e-9)).argmax(0)
        u = torch.where(side == 0, self.q[1], self.q[0])
        v = torch.where(side == 2, self.q[1], self.q[2])
        return u / (2 * math.pi), v / (2 * math.pi), side

    def mix(
        self, value: Tensor, tint: Tensor | None = None, fade: Tensor | float = 1.0, share: Tensor | float = 0.5
    ) -> Tensor:
        """Color by value, as sharp as the footprint allows, with a tint per cell and the grain over it.

        fade   1 where the pattern is resolved, 0 where it is finer than a pixel
        share  of the second color in the whole pattern, which is visible where it is not resolved
        """
        sharpness, width = self.sharpness, self.width()
        if width is not None:
            sharpness = torch.minimum(sharpness, 4 / width.clamp_min(1e-6))
        second = share + fade * (torch.sigmoid(sharpness * value) - share)
        color = torch.lerp(self.color_a, self.color_b, second)
        if tint is not None:
            color = color * (1 + fade * tint)
        if bool((self.grain > 0).any()):
            fine = None if width is None else 4 * width
            color = color * (1 + self.grain * noise(4 * self.q, 0.7, fine))
        return color.clamp_min(0)


def noise(q: Tensor, gain: Tensor | float, width: Tensor | None, bend: Tensor | float = 0.7) -> Tensor:
    """Turbulence [p] of about unit variance at q [3, p] (radians): octaves of a few waves, each bending the next.

    gain   amplitude of an octave over that of the one before
    width  footprint in radians: a finer wave fades as under a Gaussian blur; None = unfiltered
    bend   by how much the waves of an octave bend the next
    """
    total, power = torch.zeros_like(q[0]), 1e-12
    amplitude = torch.ones_like(q[0])
    scale = 1.0
    for octave in range(OCTAVES):
        directions = octave_waves(octave, q.device, q.dtype)
        waves = (torch.tensordot(directions[:, :3], q, 1) + directions[:, 3:]).sin()
        value = waves.sum(0) * math.sqrt(2 / WAVES_PER_OCTAVE)
        fade = 1.0 if width is None else torch.exp(-0.5 * (width * (scale * 1.15)) ** 2)
        total = total + amplitude * fade * value
        power = power + amplitude * amplitude
        amplitude = amplitude * gain
        bent = torch.stack([waves[1], waves[2], waves[0]])
        q, scale = 2.03 * q + bend * bent, scale * 2.03
    return total / torch.as_tensor(power).sqrt()


def cell_random(cell: Tensor, salt: Tensor | int) -> Tensor:
    """Uniform numbers [p] in [0, 1) of integer cells [c, p]: a hash by multiplication and shifts in 32 bits."""
    mask = 0xFFFFFFFF
    state = torch.as_tensor(salt, device=cell.device).long() * 0x27D4EB2F & mask
    for axis, factor in zip(cell.long().unbind(0), (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)):
        state = ((state ^ (axis * factor & mask)) * 0x2C1B3C6D) & mask
        state = state ^ (state >> 15)
    state = (state * 0x297A2D39) & mask
    state = state ^ (state >> 15)
    return (state & 0xFFFFFF).to(torch.float32) / 2**24


def _waves(points: TexturePoints) -> Tensor:
    waves = points.q.sin()
    value = torch.where(points.product > 0.5, 3 * waves[0] * waves[1] * waves[2], (waves * points.weight).sum(0))
    return torch.lerp(points.color_a, points.color_b, torch.sigmoid(points.sharpness * value))


def _noise(points: TexturePoints) -> Tensor:
    gain, bend, _ = points.weight
    return points.mix(noise(points.q, gain, points.width(), bend))


def _color(points: TexturePoints) -> Tensor:
    gain, bend, _ = points.weight
    shares = [noise(points.q + 40.0 * channel, gain, points.width(), bend) for channel in range(3)]
    share = torch.sigmoid(torch.stack(shares) * points.sharpness)
    return torch.lerp(points.color_a, points.color_b, share)


def _worley(points: TexturePoints) -> Tensor:
    """Distances to the nearest and second nearest of one random point a cell (Worley 1996) in 2^3 cells."""
    q = points.q / (2 * math.pi)
    base = (q - 0.5).floor()
    first = torch.full_like(q[0], 9.0)
    second, nearest = first.clone(), torch.zeros_like(q)
    for corner in range(8):
        offset = q.new_tensor([corner & 1, corner >> 1 & 1, corner >> 2])[:, None]
        cell = base + offset
        jitter = torch.stack([cell_random(cell, axis + 1) for axis in range(3)]).to(q.dtype)
        away = (q - cell - 0.25 - 0.5 * jitter).square().sum(0)
        closer = away < first
        second = torch.where(closer, first, torch.minimum(second, away))
        nearest = torch.where(closer, cell, nearest)
        first = torch.where(closer, away, first)
    border = 6 * (second.sqrt() - first.sqrt()) - 1
    tint = 2 * cell_random(nearest, 9).to(q.dtype) - 1
    return points.mix(torch.lerp(tint, border, points.weight[0]), 0.25 * tint, _fade(points, 1.0))


def _fade(points: TexturePoints, periods: float) -> Tensor | float:
    """1 where cells of `periods` periods are larger than the footprint, falling to 0 where they are smaller than it."""
    width = points.width()
    return 1.0 if width is None else (1.5 - width / (math.pi * periods)).clamp(0, 1)


def _wood(points: TexturePoints) -> Tensor:
    x, y, z = points.q
    slow = None if (width := points.width()) is None else 0.5 * width
    bent = noise(torch.stack([0.5 * x, 0.5 * y, 0.1 * z]), 0.5, slow)
    rings = ((x * x + y * y + 1e-6).sqrt() + points.weight[0] * bent) % (2 * math.pi)
    return points.mix(rings / math.pi - 1, fade=_fade(points, 1.0))


def _marble(points: TexturePoints) -> Tensor:
    width = points.width()
    bent = noise(0.7 * points.q, 0.55, None if width is None else 0.7 * width)
    value = 1 - 2 * (points.q[0] + points.weight[0] * bent).sin().abs()
    return points.mix(value, fade=_fade(points, 0.5), share=0.34)


def _bricks(points: TexturePoints) -> Tensor:
    shift, joint, tints = points.weight
    u, v, side = points.on_surface()
    row = v.floor()
    u = u + shift * (row % 2)
    column = u.floor()
    edge = torch.minimum(0.5 - (u - column - 0.5).abs(), 0.5 - (v - row - 0.5).abs())  # 0 on a border
    tint = tints * (2 * cell_random(torch.stack([column, row, side.to(u)]), 3).to(u) - 1)
    value = 8 * (edge - joint / 2) / joint.clamp_min(0.02)
    return points.mix(value.clamp(-3, 3), tint, _fade(points, 1.0), (1 - joint).square())


def _glyphs(points: TexturePoints) -> Tensor:
    u, v, side = points.on_surface()
    cell = torch.stack([u.floor(), v.floor(), side.to(u)])
    letter = (cell_random(cell, 5) * 90).floor().to(u)  # an alphabet of 90 letters
    x, y = (u - cell[0]) * 7 - 1, (v - cell[1]) * 9 - 1
    within = (x >= 0) & (x < 5) & (y >= 0) & (y < 7)
    # Symmetric dots resemble writing more than scattered ones.
    column = torch.where(letter % 2 == 0, torch.minimum(x.floor(), 4 - x.floor()), x.floor())
    on = cell_random(torch.stack([column, y.floor(), letter]), 7) < 0.5
    ink = torch.where(within & on, 1.0, -1.0).to(u)
    return points.mix(ink, fade=_fade(points, 1 / 8), share=0.5 * 35 / 63)


def _gradient(points: TexturePoints) -> Tensor:
    return points.mix(points.q[0] / math.pi)


def _road(points: TexturePoints) -> Tensor:
    dash, lanes, line = points.weight
    along, across = points.q[0] / (2 * math.pi), points.q[1] / (2 * math.pi)
    nearest = across.round()
    outer = nearest.abs() >= lanes - 0.5
    solid = outer | ((along - along.floor()) < dash)
    on_line = ((across - nearest).abs() < line / 2) & (nearest.abs() <= lanes + 0.5) & solid
    share = torch.where(nearest.abs() <= lanes + 0.5, line * torch.where(outer, 1.0, dash), 0.0)
    paint = torch.where(on_line, 1.0, -1.0).to(along)
    return points.mix(paint, fade=_fade(points, 0.04), share=share)


def _speckle(points: TexturePoints) -> Tensor:
    q = points.q / (2 * math.pi)
    cell = q.floor()
    radius = 0.2 + 0.25 * cell_random(cell, 2).to(q)
    away = (q - cell - 0.5).square().sum(0).sqrt()
    dot = cell_random(cell, 4) < points.weight[0]
    value = torch.where(dot, 8 * (radius - away), -1.0)
    # Balls of mean radius a third of a cell, cut by a surface.
    return points.mix(value.clamp(-1, 1), fade=_fade(points, 0.6), share=0.2 * points.weight[0])


def _plain(points: TexturePoints) -> Tensor:
    if bool((points.grain > 0).any()):
        return points.mix(torch.zeros_like(points.q[0]))
    return points.color_a


_PATTERNS: dict[Pattern, Callable[[TexturePoints], Tensor]] = {
    Pattern.WAVES: _waves,
    Pattern.NOISE: _noise,
    Pattern.COLOR: _color,
    Pattern.WORLEY: _worley,
    Pattern.WOOD: _wood,
    Pattern.MARBLE: _marble,
    Pattern.BRICKS: _bricks,
    Pattern.GLYPHS: _glyphs,
    Pattern.GRADIENT: _gradient,
    Pattern.ROAD: _road,
    Pattern.SPECKLE: _speckle,
    Pattern.PLAIN: _plain,
}
