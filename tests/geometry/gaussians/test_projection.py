"""How cameras see Gaussians: against the projection's derivative by hand."""

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.gaussians.projection import footprints
from geometry.gaussians.splats import Splats

SPREAD, Z = 0.1, 2.0


def ball(x: float, y: float) -> Splats:
    """One round Gaussian 2 m ahead, at a slope."""
    means = torch.tensor([[x * Z, y * Z, Z]])
    return Splats(means, torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), SPREAD), torch.ones(1), torch.ones(1, 1, 3))


@pytest.mark.parametrize(
    ("slope", "clamped"),
    [
        ((0.1, 0.2), (0.1, 0.2)),
        ((9.0, 0.0), ((64 - 16 + 0.15 * 64) / 40, 0.0)),  # the image ends at 1.2, three tenths of its half are added
        ((-9.0, 0.0), (-(16 + 0.15 * 64) / 40, 0.0)),
        ((0.0, 9.0), (0.0, (48 - 30 + 0.15 * 48) / 50)),
        ((0.0, -9.0), (0.0, -(30 + 0.15 * 48) / 50)),
    ],
)
def test_a_round_gaussian_s_footprint_is_that_of_the_derivative_at_the_clamped_slope(slope, clamped) -> None:
    """The principal point is not in the middle: each side of the image has its own limit."""
    K = torch.tensor([[40.0, 0, 16], [0, 50, 30], [0, 0, 1]])
    found = footprints(ball(*slope), Cameras(torch.eye(4), K, (48, 64)))
    x, y = clamped
    derivative = torch.tensor([[40.0, 0, -40 * x], [0, 50, -50 * y]]) / Z
    expected = SPREAD**2 * derivative @ derivative.T + 0.3 * torch.eye(2)
    assert torch.allclose(found.covariances[0], expected, rtol=1e-4)
    assert torch.allclose(found.means[0], torch.tensor([40 * slope[0] + 16, 50 * slope[1] + 30]), rtol=1e-5)
    share = torch.linalg.det(expected - 0.3 * torch.eye(2)) / torch.linalg.det(expected)
    assert torch.allclose(found.compensations[0], share.sqrt(), rtol=1e-3) and float(found.depths) == Z
