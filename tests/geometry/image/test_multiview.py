"""Multi-view agreement: closed forms, and that every kind of error scores less than the truth."""

import math

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.image.multiview import agreement
from geometry.rotation.transforms import look_at

SIDE = 32


def sideways(steps: list[float]) -> Cameras:
    """Cameras [1, f] with axes along world z, moved along x; at distance 1 an image spans 1 unit."""
    poses = torch.eye(4).repeat(1, len(steps), 1, 1)
    poses[0, :, 0, 3] = torch.tensor(steps)
    K = torch.tensor([[SIDE, 0.0, SIDE / 2], [0.0, SIDE, SIDE / 2], [0.0, 0.0, 1.0]])
    return Cameras(poses, K.expand(1, len(steps), 3, 3), (SIDE, SIDE))


def wall(cameras: Cameras, scale: float = 1.0) -> Tensor:
    """Images of a colored wall at z = 1, linear in x so that looking between pixels is exact."""
    u = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    x = cameras.centers[..., 0][..., None] + u
    return (0.5 + 0.3 * scale * x)[..., None, None, :].expand(*cameras.shape, 3, SIDE, SIDE)


def flat(cameras: Cameras, value: float) -> Tensor:
    return torch.full((*cameras.shape, 1, SIDE, SIDE), value)


@pytest.mark.parametrize("step", [0.0, 0.25, 0.5, 1.25])
def test_true_depth_agrees_wherever_both_frames_show_it(step: float) -> None:
    cameras = sideways([0.0, step])
    overlap = max(1 - step, 0.0)
    assert float(agreement(wall(cameras), flat(cameras, 1.0), cameras)) == pytest.approx(overlap, abs=1e-5)


def test_a_difference_of_depth_or_color_counts_by_its_kernel_and_both_together_by_the_product() -> None:
    cameras = sideways([0.0, 0.0])
    rgb, inverse = torch.full((1, 2, 3, SIDE, SIDE), 0.5), flat(cameras, 1.0)
    inverse[:, 1] = 1.2
    kernel = math.exp(-((0.2 / 1.2 / 0.1) ** 2) / 2)
    assert float(agreement(rgb, inverse, cameras)) == pytest.approx(kernel, rel=1e-5)
    rgb[:, 1, 0] += 0.15  # one channel of three
    color = 1 / (1 + 0.15**2 / 3 / 0.1**2)
    assert float(agreement(rgb, flat(cameras, 1.0), cameras)) == pytest.approx(color, rel=1e-5)
    assert float(agreement(rgb, inverse, cameras)) == pytest.approx(kernel * color, rel=1e-5)


def test_wrong_depth_shifts_colors_by_its_parallax() -> None:
    cameras = sideways([0.0, 0.25])
    rgb = wall(cameras)
    shift = 0.3 * 0.25 * 0.2  # colors change by 0.3 a unit, and parallax is the step times the error of inverse depth
    inside = 1 - round(0.25 * 1.2 * SIDE) / SIDE
    wanted = inside / (1 + shift**2 / 0.1**2)
    assert float(agreement(rgb, flat(cameras, 1.2), cameras)) == pytest.approx(wanted, abs=0.02)


def test_sky_agrees_with_sky_and_moves_with_rotation_alone() -> None:
    cameras = sideways([0.0, 0.4])
    rgb = torch.full((1, 2, 3, SIDE, SIDE), 0.7)
    assert float(agreement(rgb, flat(cameras, 0.0), cameras)) == pytest.approx(1.0, abs=0.05)
    turned = Cameras(look_at(torch.zeros(1, 2, 3), torch.tensor([[[1.0, 0, 0], [-1.0, 0, 0]]])), cameras.K, cameras.hw)
    assert float(agreement(rgb, flat(cameras, 0.0), turned)) == 0


def test_what_lies_behind_a_camera_or_is_hidden_scores_0() -> None:
    cameras = sideways([0.0, 0.0])
    inverse = flat(cameras, 1.0)
    inverse[:, 0, :, :, : SIDE // 2] = 10.0  # a near thing in the left half of the first image only
    rgb = torch.full((1, 2, 3, SIDE, SIDE), 0.5)
    assert float(agreement(rgb, inverse, cameras)) == pytest.approx(0.5, abs=0.01)


def test_it_does_not_depend_on_the_world_s_frame_or_the_batch() -> None:
    cameras = sideways([0.0, 0.2, 0.5])
    rgb, inverse = torch.rand(1, 3, 3, SIDE, SIDE), 0.5 + torch.rand(1, 3, 1, SIDE, SIDE)
    alone = agreement(rgb, inverse, cameras)
    moved = cameras.moved(look_at(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)))
    assert torch.allclose(agreement(rgb, inverse, moved), alone, atol=1e-4)
    several = agreement(
        rgb.expand(2, 3, 3, 3, SIDE, SIDE), inverse.expand(2, 3, 3, 1, SIDE, SIDE), two_by_three(cameras)
    )
    assert several.shape == (2, 3) and torch.allclose(several, alone.expand(2, 3), atol=1e-6)


def two_by_three(cameras: Cameras) -> Cameras:
    """A batch [2, 3, f] of the same."""
    poses, K = (value.expand(2, 3, *value.shape[1:]) for value in (cameras.world_from_camera, cameras.K))
    return Cameras(poses, K, cameras.hw)


def test_gradients_of_colors_and_parallax_are_those_of_finite_differences() -> None:
    cameras = sideways([0.0, 0.26])
    cameras = Cameras(cameras.world_from_camera.double(), cameras.K.double(), cameras.hw)
    rgb = wall(cameras, 2.0).double().clone().requires_grad_()
    inverse = flat(cameras, 1.2).double().requires_grad_()  # one depth everywhere: colors alone draw it
    agreement(rgb, inverse, cameras).sum().backward()
    with torch.no_grad():
        for value in (rgb, inverse):
            assert value.grad is not None and value.grad.isfinite().all() and value.grad.any()
            step = 1e-6 * torch.sign(value.grad)
            pair = [(rgb + s * step, inverse) if value is rgb else (rgb, inverse + s * step) for s in (1, -1)]
            rise = agreement(*pair[0], cameras) - agreement(*pair[1], cameras)
            assert float(rise) == pytest.approx(float(2 * (value.grad * step).sum()), rel=1e-3)
    assert inverse.grad is not None and inverse.grad.sum() < 0  # the wall is at 1


def test_depths_that_differ_are_drawn_together_with_equal_force_and_the_occluded_not_at_all() -> None:
    cameras = sideways([0.0, 0.0])
    rgb, inverse = torch.full((1, 2, 3, SIDE, SIDE), 0.5), flat(cameras, 1.0)
    inverse[:, 1] = 1.1
    inverse.requires_grad_()
    agreement(rgb, inverse, cameras).sum().backward()
    assert inverse.grad is not None
    far, near = inverse.grad.sum((0, 2, 3, 4)).tolist()
    force = 0.1 / (0.1 * 1.1) ** 2 * math.exp(-((0.1 / 1.1 / 0.1) ** 2) / 2)
    assert far == pytest.approx(force, rel=1e-4) and near == pytest.approx(-force, rel=1e-4)
    hidden = flat(cameras, 1.0)
    hidden[:, 1] = 2.0
    hidden.requires_grad_()
    agreement(rgb, hidden, cameras).sum().backward()
    assert hidden.grad is not None and float(hidden.grad.sum((0, 2, 3, 4)).abs().max()) < 1e-3 * force
