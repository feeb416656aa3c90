"""Camera paths."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.rotation.transforms import rigid, rotation_about
from geometry.trajectory.paths import nearest_point_to_axes, orbit

PIVOT = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


@settings(max_examples=40)
@given(st.floats(-89, 89), st.floats(-400, 400), st.integers(1, 12), st.floats(0.1, 50))
def test_orbit_starts_at_its_azimuth_and_all_axes_pass_through_the_pivot(elevation, start, frames, radius) -> None:
    poses = orbit(PIVOT, radius, elevation, frames, start)
    offset = poses[:, :3, 3] - PIVOT
    assert torch.allclose(offset.norm(dim=-1), torch.tensor(radius, dtype=torch.float64))
    first = math.atan2(float(offset[0, 1]), float(offset[0, 0]))
    assert math.isclose(math.cos(first - math.radians(start)), 1, abs_tol=1e-9)
    assert math.isclose(float(offset[0, 2]), radius * math.sin(math.radians(elevation)), abs_tol=1e-9 * radius)
    assert torch.allclose(poses[:, :3, 3] + radius * poses[:, :3, 2], PIVOT.expand(frames, 3), atol=1e-9 * radius)
    assert torch.allclose(poses[:, 2, 0], torch.zeros(frames, dtype=torch.float64), atol=1e-9)  # no roll


@pytest.mark.parametrize(("arc", "frames", "step"), [(360.0, 8, 45), (90.0, 4, 30), (-360.0, 6, -60), (-180.0, 3, -90)])
def test_orbit_is_equally_spaced_counter_clockwise_and_a_full_turn_does_not_repeat(arc, frames, step) -> None:
    offset = orbit(PIVOT, 2.0, 20.0, frames, 10.0, arc)[:, :3, 3] - PIVOT
    azimuth = torch.rad2deg(torch.atan2(offset[:, 1], offset[:, 0]))
    expected = 10 + step * torch.arange(frames, dtype=torch.float64)
    assert torch.allclose(torch.cos(torch.deg2rad(azimuth - expected)), torch.ones(frames, dtype=torch.float64))


@settings(max_examples=40)
@given(st.integers(2, 9), st.integers(0, 2**31))
def test_axes_through_one_point_meet_there(count, seed) -> None:
    torch.manual_seed(seed)
    rotation = rotation_about(torch.randn(count, 3, dtype=torch.float64), 3 * torch.rand(count, dtype=torch.float64))
    centers = PIVOT - (0.5 + 5 * torch.rand(count, 1, dtype=torch.float64)) * rotation[:, :, 2]
    spread = torch.linalg.svdvals(rotation[:, :, 2] - rotation[:, :, 2].mean(0))[0]
    if spread > 0.2:
        assert (nearest_point_to_axes(rigid(rotation, centers)) - PIVOT).abs().max() < 1e-6


def test_of_two_skew_axes_the_middle_of_their_common_normal_is_nearest() -> None:
    across = rigid(
        rotation_about(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(-math.pi / 2)), torch.tensor([0.0, -3, 2])
    )
    upward = torch.eye(4)
    upward[:3, 3] = torch.tensor([4.0, 0.0, -1.0])
    assert torch.allclose(
        nearest_point_to_axes(torch.stack([upward, across])), torch.tensor([2.0, 0.0, 2.0]), atol=1e-5
    )


def test_parallel_axes_give_a_point_level_with_the_mean_center() -> None:
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[:, 0, 3] = torch.tensor([-1.0, 0.0, 4.0])
    assert torch.allclose(nearest_point_to_axes(poses), torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)


def test_a_guess_decides_where_parallel_axes_meet_and_hardly_moves_crossed_ones() -> None:
    parallel = torch.eye(4).repeat(3, 1, 1)
    parallel[:, 0, 3] = torch.tensor([-1.0, 0.0, 1.0])
    guess = torch.tensor([0.0, 0.0, 5.0])
    assert torch.allclose(nearest_point_to_axes(parallel, guess, torch.tensor(1e-4)), guess, atol=1e-5)
    ring = orbit(PIVOT, 2.0, 30.0, 6)
    assert torch.allclose(nearest_point_to_axes(ring, PIVOT + 1, torch.tensor(1e-4)), PIVOT, atol=1e-3)


def test_impossible_paths_are_refused(refused) -> None:
    for arguments in ((0.0, 10.0, 4), (math.inf, 10.0, 4), (1.0, 90.0, 4), (1.0, math.nan, 4), (1.0, 10.0, 0)):
        with refused("orbit"):
            orbit(PIVOT, *arguments)
    with refused("1 camera"):
        nearest_point_to_axes(torch.eye(4)[None])
