"""Errors of trajectories that can be worked out by hand, and as evo has them."""

import math
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from geometry.rotation.transforms import look_at, rigid, rotation_about
from geometry.trajectory.metrics import ate, rpe, trajectory_errors

UP = torch.tensor([0.0, 0.0, 1.0])
AXIS = torch.tensor([1.0, 2.0, 3.0]).double()


def path(frames: int = 5) -> torch.Tensor:
    """A trajectory [1, f, 4, 4] that turns and climbs."""
    angle = torch.linspace(0, 1.2, frames)
    eyes = torch.stack([3 * angle.cos(), 3 * angle.sin(), 0.5 + angle], -1)
    return look_at(eyes, torch.zeros(3))[None].double()


ALL = [
    {"reduce": r, "angle": a, "alignment": s, "unit": u}
    for r in ("sum", "mean")
    for a in ("rad", "deg")
    for s in ("none", "scale", "sim3")
    for u in ("path", "metres")
]


@pytest.mark.parametrize("flags", ALL)
def test_the_true_path_has_no_error_in_any_world_frame(flags: dict[str, Any]) -> None:
    world = rigid(rotation_about(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(0.7)), torch.tensor([5.0, -1, 2])).double()
    errors = trajectory_errors(world @ path(), path(), **flags)
    for error in (errors.rotation, errors.translation, errors.cam_mc):
        assert float(error) < 1e-5


def test_sums_and_means_and_degrees_and_radians_differ_as_named() -> None:
    turn = rigid(rotation_about(UP, torch.tensor(0.1)), torch.zeros(3)).double()
    found = path().clone()
    found[:, 1:] = found[:, 1:] @ turn
    summed = trajectory_errors(found, path(), alignment="none", unit="metres")
    assert float(summed.rotation) == pytest.approx(4 * 0.1, abs=1e-6)
    assert float(summed.translation) == pytest.approx(0, abs=1e-9)
    # ||R - R'||_F of a turn by a is 2 sqrt 2 sin(a / 2).
    assert float(summed.cam_mc) == pytest.approx(4 * 2 * math.sqrt(2) * math.sin(0.05), abs=1e-6)
    mean = trajectory_errors(found, path(), "mean", "deg", "none", "metres")
    assert float(mean.rotation) == pytest.approx(math.degrees(0.1), abs=1e-5)
    assert float(mean.cam_mc) == pytest.approx(float(summed.cam_mc) / 4)


def test_a_path_twice_as_long_is_wrong_by_itself_unless_scale_is_aligned() -> None:
    first = path()[:, :1]
    found = torch.linalg.inv(first) @ path()
    found[..., :3, 3] *= 2
    moves = (torch.linalg.inv(first) @ path())[0, 1:, :3, 3].norm(dim=-1)
    plain = trajectory_errors(found, path(), alignment="none")
    assert float(plain.translation) == pytest.approx(float(moves.sum() / moves.max()))
    assert float(plain.rotation) < 1e-6
    for alignment in ("scale", "sim3"):
        assert float(trajectory_errors(found, path(), alignment=alignment).translation) < 1e-6


def test_an_error_of_the_first_frame_alone_spoils_all_relative_poses_but_not_the_aligned_path() -> None:
    found = path(9).clone()
    found[:, 0] = found[:, 0] @ rigid(rotation_about(UP, torch.tensor(0.3)), torch.zeros(3)).double()
    relative = trajectory_errors(found, path(9), "mean", "rad", "none", "metres")
    assert float(relative.rotation) == pytest.approx(0.3, abs=1e-6)
    aligned = trajectory_errors(found, path(9), "mean", "rad", "sim3", "metres")
    assert float(aligned.translation) < 1e-6 and float(aligned.rotation) < 1e-6


def test_the_protocol_says_its_name() -> None:
    assert trajectory_errors(path(), path()).protocol.startswith("CamI2V (rel): sum over 4 frames, rad")
    assert trajectory_errors(path(), path(), alignment="none").protocol.startswith("CamI2V (abs): sum")
    other = trajectory_errors(path(), path(), "mean", "deg", "sim3", "metres").protocol
    assert other == "mean over 4 frames, deg, sim3 alignment, in metres"


def test_invalid_paths_and_flags_are_refused(unchecked: None) -> None:
    still = path()[:, :1].expand(1, 3, 4, 4)
    cases: list[tuple[torch.Tensor, torch.Tensor, dict[str, Any], str]] = [
        (path(4), path(5), {}, "expected one shape"),
        (path(1), path(1), {}, "expected one shape"),
        (still, still, {}, "stays in one place"),
        (path(), path(), {"reduce": "max"}, "reduce 'max'"),
        (path(), path(), {"alignment": "affine"}, "alignment 'affine'"),
    ]
    for found, true, flags, said in cases:
        with pytest.raises(InputError, match=said):
            trajectory_errors(found, true, **flags)
    errors = trajectory_errors(still, still, alignment="none", unit="metres")
    assert float(errors.translation) == 0


def test_ate_is_the_error_left_after_alignment() -> None:
    world = rigid(rotation_about(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(0.7)), torch.tensor([5.0, -1, 2])).double()
    moved = world @ path()
    scaled = moved.clone()
    scaled[..., :3, 3] *= 2
    assert float(ate(scaled, path())) < 1e-7
    assert float(ate(moved, path(), "rigid")) < 1e-7 and float(ate(scaled, path(), "rigid")) > 0.5
    off = path().clone()
    off[..., 2, 3] += 0.25
    assert float(ate(off, path(), "none")) == pytest.approx(0.25)


def test_rpe_is_the_drift_of_each_step() -> None:
    found = path().clone()
    step = rigid(rotation_about(UP, torch.tensor(math.radians(2))), torch.tensor([0.0, 0.0, 0.1])).double()
    true = path()
    for n in range(1, 5):
        found[:, n] = found[:, n - 1] @ torch.linalg.inv(true[:, n - 1]) @ true[:, n] @ step
    metres, degrees = rpe(found, true)
    assert float(metres) == pytest.approx(0.1, abs=1e-6) and float(degrees) == pytest.approx(2, abs=1e-5)
    world = rigid(rotation_about(UP, torch.tensor(0.4)), torch.tensor([1.0, 2.0, 3.0])).double()
    again = rpe(world @ found, true)
    assert float(again[0]) == pytest.approx(0.1, abs=1e-6) and float(rpe(true, true, 3)[1]) < 1e-6


def test_ate_and_rpe_are_evos() -> None:
    metrics = pytest.importorskip("evo.core.metrics")
    trajectory = pytest.importorskip("evo.core.trajectory")
    torch.manual_seed(0)
    found = path(30) @ rigid(rotation_about(UP, torch.tensor(0.05)), torch.tensor([0.1, 0.0, 0.02])).double()
    found[..., :3, 3] = 1.3 * found[..., :3, 3] + 0.01 * torch.randn(30, 3)
    ours, truth = (trajectory.PosePath3D(poses_se3=list(p[0].numpy())) for p in (found, path(30)))
    relation = metrics.PoseRelation
    for part, value in zip((relation.translation_part, relation.rotation_angle_deg), rpe(found, path(30))):
        error = metrics.RPE(part, delta=1, delta_unit=metrics.Unit.frames, all_pairs=True)
        error.process_data((truth, ours))
        assert float(value) == pytest.approx(error.get_statistic(metrics.StatisticsType.rmse), rel=1e-6)
    ours.align(truth, correct_scale=True)
    error = metrics.APE(relation.translation_part)
    error.process_data((truth, ours))
    assert float(ate(found, path(30))) == pytest.approx(error.get_statistic(metrics.StatisticsType.rmse), rel=1e-6)


def test_ate_and_rpe_refuse_invalid_paths(unchecked: None) -> None:
    for call, said in (
        (lambda: ate(path(4), path(5)), "expected one shape"),
        (lambda: ate(path(), path(), "affine"), "alignment 'affine'"),  # type: ignore[arg-type]
        (lambda: rpe(path(), path(), 5), "expected 1 to 4"),
    ):
        with pytest.raises(InputError, match=said):
            call()


@pytest.mark.parametrize("frames", [2, 6])
def test_a_straight_path_in_another_world_has_no_error_though_its_centers_leave_a_turn_free(frames: int) -> None:
    """A car on a straight road: only the cameras' orientations tell how the world is turned about the road."""
    straight = torch.eye(4).double().repeat(1, frames, 1, 1)
    straight[0, :, :3, 3] = torch.arange(frames)[:, None] * torch.tensor([0.3, -0.2, 2.0]).double()
    world = rigid(rotation_about(AXIS, torch.tensor(0.7).double()), torch.tensor([5.0, -1, 2]).double())
    errors = trajectory_errors(world @ straight, straight, alignment="sim3", unit="metres")
    assert max(float(error) for error in (errors.rotation, errors.translation, errors.cam_mc)) < 1e-9
    assert float(ate(world @ straight, straight)) < 1e-9 and float(ate(world @ straight, straight, "rigid")) < 1e-9


def test_rpe_is_the_root_mean_square_over_steps() -> None:
    """One step of four is wrong, by 10 degrees and 0.4 m."""
    true = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    found = true.clone()
    turn = rotation_about(torch.tensor([0.0, 0.0, 1.0]).double(), torch.deg2rad(torch.tensor(10.0).double()))
    found[3:, :3, :3], found[3:, 0, 3] = turn, 0.4
    shift, degrees = rpe(found, true)
    assert float(degrees) == pytest.approx(10 / 4**0.5, rel=1e-6) and float(shift) == pytest.approx(0.4 / 4**0.5)
