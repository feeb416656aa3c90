"""Procedural textures: a pattern of the point on a surface, between two colors, prefiltered by the ray's footprint.

A texture has coordinates q = wave p + phase (radians; p in metres in the object's own frame), a `pattern` that maps q
to a value of about -1..1, and two colors mixed by the value, softly or hard (`sharpness`). One row of numbers holds all
of it, so that one gather fetches a hit's texture.

waves       sum or product of three sine waves: stripes, checks, blotches (never filtered: the frozen evaluation set)
noise       several octaves of turbulence, amplitude `a` per octave (0.5 is 1/f, that of natural images), bent by `b`
color       the same with three independent channels
worley      cells around scattered points: `a` 0 = cells of one tint, 1 = their borders
wood        rings about the q_2 axis, bent by noise of strength `a`
marble      veins: a wave bent by noise of strength `a`
bricks      rows of bricks on the surface, every other row shifted by `a` of a brick, with joints of share `b`; tints
            vary by `c` (a = 0: tiles; wide joints: windows of a facade)
glyphs      a random letter of 5 x 7 dots in every cell
gradient    from one color to the other along q_0
road        lane lines along q_0 at whole periods of q_1 for |q_1| < `b` periods; dashes of share `a` but the outer two
speckle     small round dots in a share `a` of the cells
plain       the first color alone
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from geometry.values import as_value


class Pattern(IntEnum):
    """What a texture shows."""

    WAVES = 0
    NOISE = 1
    COLOR = 2
    WORLEY = 3
    WOOD = 4
    MARBLE = 5
    BRICKS = 6
    GLYPHS = 7
    GRADIENT = 8
    ROAD = 9
    SPECKLE = 10
    PLAIN = 11


@as_value
@dataclass(frozen=True)
class Textures:
    """Textures of any batch shape b. Colors are linear light.

    Attributes:
        color_a: [*b, 3].
        color_b: [*b, 3].
        wave: [*b, 3 waves, 3] radians per metre.
        phase: [*b, 3] radians.
        weight: [*b, 3] of the waves' sum, or the pattern's a, b, c.
        product: [*b] 1 = multiply the waves instead.
        sharpness: [*b] of the change from one color to the other.
        pattern: [*b] `Pattern`.
        grain: [*b] strength of fine noise over all of it.
    """

    color_a: Tensor
    color_b: Tensor
    wave: Tensor
    phase: Tensor
    weight: Tensor
    product: Tensor
    sharpness: Tensor
    pattern: Tensor
    grain: Tensor

    def table(self) -> Tensor:
        """All numbers of each texture in one row [*b, 25], so that one gather fetches a hit's texture."""
        single = (self.product, self.sharpness, self.pattern, self.grain)
        wave = self.wave.flatten(-2)
        parts = [self.color_a, self.color_b, wave, self.phase, self.weight, *(part[..., None] for part in single)]
        return torch.cat([part.to(self.wave.dtype) for part in parts], -1)
