"""Recovered poses against known ones, and trajectory errors that can be worked out by hand."""

import math
from typing import Any

import pytest
import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.transforms import look_at, rigid, rotation_about
from worldgen.evaluation.pose import find_poses, moved, perturbed, pose_errors, trajectory_errors
from worldgen.scenes.render import render
from worldgen.scenes.tabletop import tabletop

UP = torch.tensor([0.0, 0.0, 1.0])


def views(scenes: int, count: int, size_px: int = 64) -> Cameras:
    """Cameras [scenes, count] around a table."""
    angle = torch.rand(scenes, count) * 2 * math.pi
    eyes = torch.stack([3.2 * angle.cos(), 3.2 * angle.sin(), torch.full_like(angle, 1.3)], -1)
    return Cameras.from_fov(look_at(eyes, torch.tensor([0.0, 0.0, 0.25])), 50.0, (size_px, size_px))


def test_pictures_taken_elsewhere_measure_how_far() -> None:
    scene, asked = tabletop(0, [3], held_out=True), views(1, 1, 32)
    asked = Cameras.cat([asked] * 3)
    turns, shifts = (0.0, 1.0, 3.0), (0.0, 0.05, 0.15)
    directions = torch.randn(3, 2, 3)
    taken = Cameras.cat([perturbed(asked[:, i : i + 1], turns[i], shifts[i], directions[None, i : i + 1])
                         for i in range(3)])  # fmt: skip
    pictures = render(scene, taken, 2).rgb
    found, residual = find_poses(pictures, asked, lambda now: render(scene, now, 2).rgb, torch.full((1, 3), 3.2))
    rotation, translation = pose_errors(found, asked)
    assert torch.allclose(rotation[0], torch.tensor(turns), atol=0.1)
    assert torch.allclose(translation[0], torch.tensor(shifts), atol=0.01)
    assert float(residual.max()) < 0.01


@pytest.mark.slow
def test_the_floor_on_true_pictures_is_a_fraction_of_a_degree() -> None:
    scene, cameras = tabletop(0, list(range(8)), held_out=True), views(8, 2)
    start = perturbed(cameras, 2.0, 0.08, torch.randn(8, 2, 2, 3))

    def renderer(now: Cameras) -> torch.Tensor:
        return render(scene, now, 2).rgb

    found, _ = find_poses(render(scene, cameras, 2).rgb, start, renderer, torch.full((8, 2), 3.2))
    rotation, translation = pose_errors(found, cameras)
    assert float(rotation.median()) < 0.2 and float(translation.median()) < 0.01


def test_a_motion_turns_about_the_camera_and_shifts_along_its_axes() -> None:
    cameras = views(1, 2)
    turned = moved(cameras, torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0, 0.0]).expand(1, 2, 6), torch.ones(1, 2))
    assert torch.allclose(turned.centres, cameras.centres)
    assert torch.allclose(pose_errors(turned, cameras)[0], torch.full((1, 2), math.degrees(0.3)), atol=1e-3)
    ahead = moved(cameras, torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.1]).expand(1, 2, 6), torch.full((1, 2), 5.0))
    assert torch.allclose(ahead.centres, cameras.centres + 0.5 * cameras.forward, atol=1e-6)


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


def test_sums_and_means_degrees_and_radians_differ_by_what_they_say() -> None:
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


def test_paths_and_flags_that_make_no_sense_are_refused(unchecked: None) -> None:
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
