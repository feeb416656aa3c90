"""Quaternions: their matrices, and the way from one to another."""

import math

import pytest
import torch

from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.rotation.transforms import rotation_about

Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def turned(degrees: float) -> torch.Tensor:
    """A turn about z."""
    return rotation_about(Z, torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)))


def test_a_quarter_turn_about_z_is_w_and_z() -> None:
    half = math.sqrt(0.5)
    expected = torch.tensor([half, 0, 0, half], dtype=torch.float64)
    assert torch.allclose(quaternion_wxyz_from_matrix(turned(90.0)), expected)
    assert torch.allclose(matrix_from_quaternion_wxyz(3 * expected), turned(90.0)), "of any length"


@pytest.mark.parametrize("end_deg", [0.1, 40.0, 170.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_way_between_rotations_is_the_shorter_one_at_an_even_speed(end_deg: float, sign: float) -> None:
    """A quaternion and its negative are one rotation."""
    start, end = (quaternion_wxyz_from_matrix(turned(degrees)) for degrees in (10.0, 10.0 + end_deg))
    for share in (0.0, 0.25, 0.5, 1.0):
        found = slerp(start, sign * end, torch.tensor(share, dtype=torch.float64))
        assert float(found.norm()) == pytest.approx(1)
        assert torch.allclose(matrix_from_quaternion_wxyz(found), turned(10.0 + share * end_deg), atol=1e-6)
