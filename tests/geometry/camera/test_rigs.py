"""Rigs put their cameras where they are on the body, at the moment of each image."""

import math

import pytest
import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rigs import Rig, RigCamera, poses_at
from geometry.errors import InputError
from geometry.rotation.transforms import rigid, rotation_about

# A vehicle's axes are x forward, y left, z up; a camera looking ahead has OpenCV axes.
AHEAD = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)


def member(name: str, yaw: float, place: tuple[float, float, float], **options) -> RigCamera:
    turn = rotation_about(torch.tensor([0.0, 0, 1]).double(), torch.tensor(math.radians(yaw), dtype=torch.float64))
    K = torch.tensor([[40.0, 0, 40], [0, 40.0, 30], [0, 0, 1]], dtype=torch.float64)
    return RigCamera(name, rigid(turn @ AHEAD, torch.tensor(place).double()), K, (60, 80), **options)


def two(**options) -> Rig:
    return Rig((member("front", 0, (1.5, 0.0, 1.6)), member("left", 90, (0.5, 0.8, 1.5), **options)))


def drive() -> tuple[torch.Tensor, torch.Tensor]:
    """Two metres a second along x, turning left."""
    time_s = torch.arange(4).double() / 2
    turn = rotation_about(torch.tensor([[0.0, 0, 1]]).double().expand(4, 3), 0.1 * torch.arange(4).double())
    return rigid(turn, torch.stack([2 * time_s, 0 * time_s, 0 * time_s], -1)), time_s


def test_cameras_of_one_moment_are_side_by_side_in_order() -> None:
    cameras = two().cameras(*drive())
    assert cameras.shape == (8,) and cameras.view.tolist() == [0, 1] * 4
    assert cameras.time_s.tolist() == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5]
    assert torch.allclose(cameras.centers[0], torch.tensor([1.5, 0, 1.6]).double())
    assert torch.allclose(cameras.forward[:2], torch.tensor([[1.0, 0, 0], [0, 1, 0]]).double(), atol=1e-12)
    path, _ = drive()
    assert torch.allclose(cameras.centers[7], (path[3] @ torch.tensor([0.5, 0.8, 1.5, 1]).double())[:3])
    only = two().cameras(*drive(), names=["left"])
    assert only.view.tolist() == [1] * 4 and torch.equal(only.world_from_camera, cameras.world_from_camera[1::2])


def test_a_camera_with_a_time_offset_is_where_the_rig_is_then() -> None:
    path, time_s = drive()
    cameras = two(time_offset_s=0.25).cameras(path, time_s)
    assert torch.allclose(cameras.time_s[1::2], time_s + 0.25)
    half = poses_at(path, time_s, time_s + 0.25)
    assert torch.allclose(cameras.world_from_camera[1::2], half @ two()["left"].rig_from_camera)
    assert torch.allclose(half[:, 0, 3], 2 * (time_s + 0.25))  # beyond the end as it went
    angle = torch.atan2(half[:, 1, 0], half[:, 0, 0])
    assert torch.allclose(angle, 0.1 * torch.arange(4).double() + 0.05)
    assert torch.allclose(poses_at(path, time_s, time_s), path, atol=1e-12)


def test_lenses_and_sizes_of_each_camera_are_kept() -> None:
    fisheye = Lens.of(LensKind.FISHEYE, torch.tensor([0.1, 0.0]).double())
    cameras = two(lens=fisheye).cameras(*drive())
    assert cameras.lens is not None and cameras.lens.kind.tolist() == [LensKind.PINHOLE, LensKind.FISHEYE] * 4
    small = two().resized((30, 40))["front"]
    assert small.hw == (30, 40) and small.K[0, 2] == 20 and small.K[1, 1] == 20


def test_invalid_rigs_are_refused() -> None:
    front = two()["front"]
    path, time_s = drive()
    with pytest.raises(InputError, match="name of its own"):
        Rig((front, front))
    with pytest.raises(InputError, match="'back'; expected one of front, left"):
        two()["back"]
    odd = Rig((front, RigCamera("low", front.rig_from_camera, front.K, (30, 40))))
    with pytest.raises(InputError, match="resize it first"):
        odd.cameras(path, time_s)
    with pytest.raises(InputError, match="rising times"):
        two().cameras(path, time_s.flip(0))
    with pytest.raises(InputError, match="at least 2"):
        two(time_offset_s=0.1).cameras(path[:1], time_s[:1])
