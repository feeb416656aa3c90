"""Semi-global matching: costs of depths made smooth along lines of the image."""

import torch

from geometry.errors import InputError
from geometry.shapes import Float


def semi_global(cost: Float[torch.Tensor, "*b d h w"], step: float, jump: float) -> Float[torch.Tensor, "*b d h w"]:
    """Costs of d depths at each pixel, plus what the best path of depths to it costs along each of four directions.

    On a path a change to the next depth costs `step`, any other `jump` (Hirschmüller 2008, eq. 13, with his P1 and P2),
    along rows and columns, both ways.

    Args:
        cost: Costs [*b, d, h, w], depths in order.
        step: Penalty of one depth up or down, 0 or more.
        jump: Penalty of more than one, at least `step`.

    Returns:
        The mean over the directions [*b, d, h, w]. Its least depth at a pixel is the smoothed answer.

    Raises:
        InputError: If the penalties are not 0 <= step <= jump.
    """
    if not 0 <= step <= jump:
        raise InputError(f"penalties {step} and {jump}; expected 0 <= step <= jump")
    across, down = (cost.movedim(axis, 0) for axis in (-1, -2))
    total = _both_ways(across, step, jump).movedim(0, -1) + _both_ways(down, step, jump).movedim(0, -2)
    return total / 4


def _both_ways(cost: torch.Tensor, step: float, jump: float) -> torch.Tensor:
    """The two directions along the first axis of costs [n, *b, d, m], added."""
    ways = torch.stack([cost, cost.flip(0)], 1)
    path = ways[0]
    paths = [path]
    for own in ways[1:]:
        least = path.amin(-2, keepdim=True)
        near = torch.nn.functional.pad(path + step, (0, 0, 1, 1), value=torch.inf)
        best = torch.minimum(torch.minimum(near[..., :-2, :], near[..., 2:, :]), torch.minimum(path, least + jump))
        path = own + best - least
        paths.append(path)
    forward, backward = torch.stack(paths).unbind(1)
    return forward + backward.flip(0)
