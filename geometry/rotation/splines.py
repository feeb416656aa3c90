"""Smooth curves through points."""

import torch

from geometry.shapes import Float


def natural_spline(knots: Float[torch.Tensor, "k d"], at: Float[torch.Tensor, "n"]) -> Float[torch.Tensor, "n d"]:
    """The natural cubic spline through knots at 0, 1, ..., k - 1 (de Boor 1978, chapter IV).

    Twice differentiable, straight at its ends; two knots give the line between them.

    at  parameters, clamped to 0..k - 1
    """
    count = len(knots)
    at = at.clamp(0, count - 1)
    bend = torch.zeros_like(knots)  # second derivatives at the knots
    if count > 2:
        inner = torch.eye(count - 2, dtype=knots.dtype, device=knots.device)
        system = 4 * inner + torch.diag_embed(torch.ones_like(knots[1 : count - 2, 0]), 1)
        system = system + torch.diag_embed(torch.ones_like(knots[1 : count - 2, 0]), -1)
        bend[1:-1] = torch.linalg.solve(system, 6 * knots.diff(n=2, dim=0))
    index = at.floor().long().clamp_max(max(count - 2, 0))
    after = (index + 1).clamp_max(count - 1)
    b = (at - index)[:, None]
    a = 1 - b
    return a * knots[index] + b * knots[after] + ((a**3 - a) * bend[index] + (b**3 - b) * bend[after]) / 6
