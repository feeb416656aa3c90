"""Cameras in words, and the mistakes found in them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rays import fov_deg
from geometry.conventions import opencv_from_opengl
from geometry.rotation.transforms import look_at, rigid, rotation_about
from geometry.trajectory.checks import describe, lint
from geometry.trajectory.paths import orbit

HW = (48, 80)


def around(frames: int = 8) -> Cameras:
    poses = orbit(torch.tensor([0.5, -0.2, 0.3]).double(), 3.0, 20.0, frames)
    return Cameras.from_fov(poses, 50.0, HW)


def walk() -> Cameras:
    eye = torch.stack([torch.linspace(0, 4, 8), 0.1 * torch.arange(8).sin(), torch.full((8,), 1.7)], -1).double()
    return Cameras.from_fov(look_at(eye, eye + torch.tensor([1.0, 0.05, 0.0])), 60.0, HW)


def turned_on_the_spot() -> Cameras:
    eye = torch.zeros(6, 3).double()
    angle = torch.linspace(0, 2, 6).double()
    return Cameras.from_fov(look_at(eye, torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)), 60.0, HW)


@pytest.mark.parametrize("make", [around, walk, turned_on_the_spot])
def test_nothing_is_found_in_good_cameras(make: Callable[[], Cameras]) -> None:
    assert lint(make()) == []


def spoilt_K(cameras: Cameras, change: Callable[[torch.Tensor], None]) -> Cameras:
    K = cameras.K.clone()
    change(K)
    return replace(cameras, K=K)


def _swap(K: torch.Tensor) -> None:
    K[:, 0, 0] = K[:, 1, 1] * HW[0] / HW[1]


def _half(K: torch.Tensor) -> None:
    K[:, :2, 2] -= 0.5


def _other_size(K: torch.Tensor) -> None:
    K[:, :2] *= 4


def _negative(K: torch.Tensor) -> None:
    K[:, 1, 1] *= -1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: spoilt_K(c, _swap), "scaled by the other side"),
        (lambda c: spoilt_K(c, _half), "pixel centers at whole numbers"),
        (lambda c: spoilt_K(c, _other_size), "outside the image"),
        (lambda c: spoilt_K(c, _negative), "not positive"),
        (lambda c: replace(c, world_from_camera=torch.linalg.inv(c.world_from_camera)), "camera_from_world"),
        (lambda c: replace(c, world_from_camera=opencv_from_opengl(c.world_from_camera)), "OpenGL axes"),
        (lambda c: replace(c, world_from_camera=c.world_from_camera * torch.tensor([-1.0, 1, 1, 1])), "determinant -1"),
        (lambda c: c.scaled(1.0).moved(torch.diag(torch.tensor([2.0, 2, 2, 1]).double())), "a scale"),
        (lambda c: replace(c, world_from_camera=c.world_from_camera * torch.nan), "NaN or Inf"),
    ],
)
def test_each_mistake_is_found_and_nothing_else(spoil: Callable[[Cameras], Cameras], said: str) -> None:
    found = lint(spoil(around()))
    assert len(found) == 1 and said in found[0], found


def test_a_description_says_where_a_camera_looks() -> None:
    eye = torch.tensor([1.0, 2.0, 3.0]).double()
    pose = look_at(eye, eye + torch.tensor([0.0, 1.0, -1.0]))
    text = describe(Cameras.from_fov(pose, 48.0, (40, 80)))
    assert text.splitlines()[0] == "1 cameras of 80x40 pixels, z up, metres"
    line = text.splitlines()[1]
    for words in ("at (1.00, 2.00, 3.00)", "right (1.00, 0.00, 0.00)", "forward (0.00, 0.71, -0.71)", "azimuth 90",
                  "45 degrees down", "roll 0", "sees 83 x 48"):  # fmt: skip
        assert words in line, (words, line)
    rolled = pose @ rigid(rotation_about(torch.tensor([0.0, 0, 1]).double(), torch.tensor(0.5).double()), 0 * eye)
    assert "roll 29" in describe(Cameras.from_fov(rolled, 48.0, (40, 80)))


def test_the_field_of_view_counts_from_an_off_center_principal_point() -> None:
    K = torch.tensor([[10.0, 0, 0], [0, 10.0, 10.0], [0, 0, 1]])
    angles = fov_deg(Cameras(torch.eye(4), K, (20, 10)))
    assert torch.allclose(angles, torch.tensor([45.0, 90.0]), atol=1e-4)


def test_the_field_of_view_of_a_fisheye_is_its_angle() -> None:
    K = torch.tensor([[20.0, 0, 20], [0, 20.0, 10.0], [0, 0, 1]])
    lens = Lens.of(LensKind.FISHEYE, torch.zeros(0))
    angles = fov_deg(Cameras(torch.eye(4), K, (20, 40), lens=lens))
    assert torch.allclose(angles, torch.rad2deg(torch.tensor([2.0, 1.0])), atol=1e-4)


def test_nothing_is_found_in_cameras_that_look_outwards() -> None:
    ring = orbit(torch.zeros(3), 2.0, 10.0, 12)
    outwards = ring @ torch.diag(torch.tensor([-1.0, 1, -1, 1]))  # about their own upright axis
    assert lint(Cameras.from_fov(outwards, 50.0, (30, 40))) == []
    assert lint(Cameras.from_fov(opencv_from_opengl(ring), 50.0, (30, 40))) != []
