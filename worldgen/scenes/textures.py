"""Solid textures: two colours mixed by a sum or a product of three waves through space.

One formula covers plain (no contrast), stripes (one wave), checks (the product of three), and blotches (the sum of
three at random directions); `sharpness` goes from soft gradients to hard edges.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Textures:
    """Textures with any batch shape b. Colours are linear light.

    colour_a, colour_b [*b, 3]; wave [*b, 3 waves, 3] radians per metre; phase [*b, 3]; weight [*b, 3] of the sum;
    product [*b] 1 = multiply the waves instead; sharpness [*b]
    """

    colour_a: Tensor
    colour_b: Tensor
    wave: Tensor
    phase: Tensor
    weight: Tensor
    product: Tensor
    sharpness: Tensor

    def table(self) -> Tensor:
        """All numbers of each texture in one row [*b, 23], so that a gather fetches a hit's texture at once."""
        return torch.cat(
            [
                self.colour_a,
                self.colour_b,
                self.wave.flatten(-2),
                self.phase,
                self.weight,
                self.product[..., None],
                self.sharpness[..., None],
            ],
            -1,
        )


def evaluate(rows: Tensor, points: Tensor) -> Tensor:
    """The linear colour [3, ...] of texture rows [23, ...] at points [3, ...] (metres, in the object's frame)."""
    colour_a, colour_b, wave, phase, weight, product, sharpness = rows.split([3, 3, 9, 3, 3, 1, 1])
    x, y, z = points.unbind(0)
    waves = (wave[0::3] * x + wave[1::3] * y + wave[2::3] * z + phase).sin()
    value = torch.where(product > 0.5, 3 * waves[0] * waves[1] * waves[2], (waves * weight).sum(0))
    return torch.lerp(colour_a, colour_b, torch.sigmoid(sharpness * value))
