"""Rotations as vectors: PyTorch3D's and scipy's numbers, and back again, also where formulas divide by 0."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.representations import (
    EULER_ORDERS,
    axis_angle_from_matrix,
    euler_from_matrix,
    matrix_from_6d,
    matrix_from_axis_angle,
    matrix_from_euler,
    se3_exp,
    se3_log,
    six_d_from_matrix,
)
from geometry.rotation.transforms import rotation_about

AXIS = torch.tensor([0.48, -0.6, 0.64], dtype=torch.float64)


@pytest.fixture
def golden(shared: Path) -> dict[str, torch.Tensor]:
    return load_file(shared / "golden/rotations.safetensors")


def near(a: torch.Tensor, b: torch.Tensor, limit: float = 1e-12) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) < limit


def test_axis_angles_are_pytorch3ds(golden: dict[str, torch.Tensor]) -> None:
    assert near(matrix_from_axis_angle(golden["axis_angle"]), golden["matrix"])
    assert near(matrix_from_axis_angle(golden["so3_exp_input"]), golden["so3_exp"])
    assert near(axis_angle_from_matrix(golden["so3_exp"][: len(golden["so3_log"])]), golden["so3_log"], 1e-7)
    assert near(matrix_from_axis_angle(axis_angle_from_matrix(golden["matrix"])), golden["matrix"])


def test_quaternions_are_pytorch3ds_and_scipys(golden: dict[str, torch.Tensor]) -> None:
    found = quaternion_wxyz_from_matrix(golden["matrix"])
    assert near(matrix_from_quaternion_wxyz(golden["quaternion_wxyz"]), golden["matrix"])
    assert near(matrix_from_quaternion_wxyz(golden["scipy_quaternion_xyzw"].roll(1, -1)), golden["matrix"])
    assert float((found * golden["quaternion_wxyz"]).sum(-1).abs().min()) > 1 - 1e-12


def test_six_numbers_are_pytorch3ds_of_the_inverse(golden: dict[str, torch.Tensor]) -> None:
    assert near(six_d_from_matrix(golden["matrix"].mT), golden["rotation_6d_rows"])
    assert near(matrix_from_6d(golden["rotation_6d_rows"]).mT, golden["matrix"])


def test_euler_angles_are_pytorch3ds(golden: dict[str, torch.Tensor]) -> None:
    angles = golden["euler_XYZ_intrinsic"]
    assert near(matrix_from_euler(angles, "XYZ"), golden["matrix"][: len(angles)])
    again = matrix_from_euler(euler_from_matrix(golden["matrix"][: len(angles)], "XYZ"), "XYZ")
    assert near(again, golden["matrix"][: len(angles)])


def test_twists_are_pytorch3ds(golden: dict[str, torch.Tensor]) -> None:
    assert near(se3_exp(golden["se3_log_input"]).mT, golden["se3_exp_4x4_row_vector"])
    assert near(se3_log(golden["se3_exp_4x4_row_vector"].mT), golden["se3_log"], 1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 0.0316, 0.0317, 1.0, math.pi - 1e-6, math.pi])
def test_an_axis_angle_comes_back_however_small_or_large(angle: float) -> None:
    vector = angle * AXIS
    rotation = matrix_from_axis_angle(vector)
    assert near(rotation, rotation_about(AXIS, torch.tensor(angle, dtype=torch.float64)), 1e-14)
    back = axis_angle_from_matrix(rotation)
    assert near(back, vector, 1e-9) or (angle == math.pi and near(back, -vector, 1e-9))
    twist = torch.cat([torch.tensor([1.0, -2.0, 3.0]).double(), vector])
    assert near(se3_exp(se3_log(se3_exp(twist))), se3_exp(twist), 1e-9)


def test_a_twist_is_a_screw() -> None:
    """Half the twist, done twice, is the whole."""
    twist = torch.randn(5, 6, dtype=torch.float64)
    assert near(se3_exp(twist / 2) @ se3_exp(twist / 2), se3_exp(twist), 1e-12)


@pytest.mark.parametrize("order", EULER_ORDERS)
@pytest.mark.parametrize("batch", [(), (1,), (3, 1, 2)])
def test_euler_angles_come_back_in_every_order(order: str, batch: tuple[int, ...]) -> None:
    low, high = (0.05, math.pi - 0.05) if order[0] == order[2] else (-math.pi / 2 + 0.05, math.pi / 2 - 0.05)
    outer = (2 * torch.rand(*batch, 2, dtype=torch.float64) - 1) * 3.1
    middle = low + (high - low) * torch.rand(*batch, 1, dtype=torch.float64)
    angles = torch.cat([outer[..., :1], middle, outer[..., 1:]], -1)
    assert near(euler_from_matrix(matrix_from_euler(angles, order), order), angles, 1e-9)


@pytest.mark.parametrize("order", EULER_ORDERS)
@pytest.mark.parametrize("end", [0, 1])
def test_in_gimbal_lock_the_last_angle_is_0_and_the_rotation_is_right(order: str, end: int) -> None:
    middle = (0.0, math.pi)[end] if order[0] == order[2] else (-math.pi / 2, math.pi / 2)[end]
    rotation = matrix_from_euler(torch.tensor([0.4, middle, 0.9], dtype=torch.float64), order)
    found = euler_from_matrix(rotation, order)
    assert float(found[2]) == 0 and near(matrix_from_euler(found, order), rotation, 1e-7)


def test_an_unknown_order_is_refused() -> None:
    for order in ("XXY", "XY", "xyz"):
        for call in (matrix_from_euler, euler_from_matrix):
            with pytest.raises(InputError, match="expected one of XYX"):
                call(torch.zeros(3) if call is matrix_from_euler else torch.eye(3), order)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0])
def test_gradients_are_right_also_at_the_identity(scale: float) -> None:
    vector = (scale * torch.randn(3, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: se3_exp(t)[..., :3, :], vector)
    assert torch.autograd.gradcheck(lambda t: se3_log(se3_exp(t)), vector)
    assert torch.autograd.gradcheck(lambda t: axis_angle_from_matrix(matrix_from_axis_angle(t[..., 3:])), vector)
    columns = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: six_d_from_matrix(matrix_from_6d(c)), columns)
    angles = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: euler_from_matrix(matrix_from_euler(a, "ZYX"), "ZYX"), angles)
