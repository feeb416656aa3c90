"""Rigid tracks: positions move straight, rotations turn at constant speed, and bodies rest outside their moments."""

from dataclasses import replace

import pytest
import torch

from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.rotation.transforms import rotation_about
from worldgen.scenes.motion import Motion

AXIS = torch.tensor([0.3, -0.5, 0.8])


def turned(degrees: float) -> torch.Tensor:
    """The rotation by an angle about one axis."""
    return rotation_about(AXIS, torch.deg2rad(torch.tensor(degrees)))


def track() -> Motion:
    """One body at three moments."""
    rotation = torch.stack([turned(angle) for angle in (10.0, 100.0, 60.0)])
    return Motion(
        torch.tensor([[0.0, 1.0, 3.0]]),
        torch.tensor([[[[0.0, 0.0, 0.0], [2.0, 0.0, 1.0], [2.0, 4.0, 1.0]]]]),
        quaternion_wxyz_from_matrix(rotation)[None, None],
    )


@pytest.mark.parametrize("degrees", [0.0, 0.01, 90.0, 179.9, 180.0, 250.0])
def test_a_quaternion_and_its_matrix_are_the_same_rotation(degrees: float) -> None:
    rotation = turned(degrees).double()
    quaternion = quaternion_wxyz_from_matrix(rotation)
    assert torch.allclose(matrix_from_quaternion_wxyz(quaternion), rotation, atol=1e-6)
    assert torch.allclose(matrix_from_quaternion_wxyz(-3 * quaternion), rotation, atol=1e-6)
    half = torch.deg2rad(torch.tensor(degrees)).double() / 2
    assert quaternion[0] >= 0 and float(quaternion[0]) == pytest.approx(abs(float(half.cos())), abs=1e-6)


@pytest.mark.parametrize(("start", "end"), [(0.0, 90.0), (20.0, 20.5), (0.0, 0.001), (10.0, 170.0)])
def test_slerp_turns_at_constant_speed(start: float, end: float) -> None:
    first, last = quaternion_wxyz_from_matrix(turned(start)), quaternion_wxyz_from_matrix(turned(end))
    for share in (0.0, 0.25, 0.5, 1.0):
        between = matrix_from_quaternion_wxyz(slerp(first, last, torch.tensor(share)))
        assert torch.allclose(between, turned(start + share * (end - start)), atol=1e-5)
        assert torch.allclose(between, matrix_from_quaternion_wxyz(slerp(first, -last, torch.tensor(share))), atol=1e-6)


def test_between_moments_a_body_moves_straight_and_turns_evenly_and_outside_them_it_rests() -> None:
    times = torch.tensor([[-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0]])
    position, rotation = track().at(times)
    wanted = [[0, 0, 0], [0, 0, 0], [1, 0, 0.5], [2, 0, 1], [2, 2, 1], [2, 4, 1], [2, 4, 1]]
    assert torch.allclose(position[0, :, 0], torch.tensor(wanted, dtype=torch.float32), atol=1e-6)
    angles = (10.0, 10.0, 55.0, 100.0, 80.0, 60.0, 60.0)
    assert torch.allclose(rotation[0, :, 0], torch.stack([turned(angle) for angle in angles]), atol=1e-5)


def test_a_body_at_rest_has_one_pose_at_all_times() -> None:
    place, turn = torch.rand(2, 3, 3), turned(70.0).expand(2, 3, 3, 3)
    position, rotation = Motion.still(place, turn).at(torch.tensor([[0.0, 5.0], [-2.0, 1e6]]))
    assert torch.equal(position, place[:, None].expand(-1, 2, -1, -1))
    assert torch.allclose(rotation, turn[:, None].expand(-1, 2, -1, -1, -1), atol=1e-6)


def test_tracks_that_no_body_can_follow_are_refused() -> None:
    good = track()
    good.check()
    with pytest.raises(InputError, match="position"):
        replace(good, position=good.position * torch.nan).check()
    with pytest.raises(InputError, match="rising"):
        replace(good, time_s=torch.tensor([[0.0, 1.0, 1.0]])).check()
    with pytest.raises(InputError, match="length 0"):
        replace(good, rotation=good.rotation * 0).check()
