"""Semi-global matching beside a transcription of its recursion, a pixel at a time."""

import pytest
import torch

from geometry.errors import InputError
from geometry.stereo import semi_global


def one_direction(cost: torch.Tensor, step: float, jump: float, move: tuple[int, int]) -> torch.Tensor:
    """L(p, d) = C(p, d) + min(L(q, d), L(q, d +- 1) + P1, min L(q) + P2) - min L(q), where q comes before p."""
    depths, height, width = cost.shape
    rows = range(height) if move[0] >= 0 else reversed(range(height))
    columns = list(range(width) if move[1] >= 0 else reversed(range(width)))
    path = torch.zeros_like(cost)
    for row in rows:
        for column in columns:
            before = (row - move[0], column - move[1])
            if not (0 <= before[0] < height and 0 <= before[1] < width):
                path[:, row, column] = cost[:, row, column]
                continue
            last = path[:, before[0], before[1]]
            for d in range(depths):
                ways = [float(last[d]), float(last.min()) + jump]
                ways += [float(last[n]) + step for n in (d - 1, d + 1) if 0 <= n < depths]
                path[d, row, column] = cost[d, row, column] + min(ways) - float(last.min())
    return path


def test_it_is_the_mean_of_four_paths():
    torch.manual_seed(0)
    cost = torch.rand(5, 4, 6, dtype=torch.float64)
    paths = torch.stack([one_direction(cost, 0.1, 0.3, move) for move in ((0, 1), (0, -1), (1, 0), (-1, 0))])
    found = semi_global(cost, 0.1, 0.3)
    assert torch.allclose(found, paths.mean(0), atol=1e-12)
    assert torch.allclose(semi_global(torch.stack([cost, 2 * cost]), 0.1, 0.3)[0], found)


def test_without_penalties_costs_stay_as_they_are():
    cost = torch.rand(3, 4, 5)
    assert torch.allclose(semi_global(cost, 0.0, 0.0), cost, atol=1e-6)


def test_a_wrong_pixel_on_a_wall_takes_the_depth_around_it():
    cost = torch.ones(7, 9, 9)
    cost[3] = 0
    cost[:, 4, 4] = 1
    cost[0, 4, 4] = 0.8
    assert int(cost[:, 4, 4].argmin()) == 0
    assert bool((semi_global(cost, 0.1, 0.5).argmin(0) == 3).all())


@pytest.mark.parametrize(("step", "jump"), [(-0.1, 1.0), (0.5, 0.1), (float("nan"), 1.0)])
def test_penalties_that_are_none_are_refused(step, jump):
    with pytest.raises(InputError, match="expected 0 <= step <= jump"):
        semi_global(torch.zeros(2, 2, 2), step, jump)
