"""Cameras to and from kornia."""

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.interop.kornia import from_kornia_cameras, to_kornia_cameras
from tests.geometry.camera.test_cameras import some_cameras


def test_kornias_camera_sees_what_ours_sees_half_a_pixel_on() -> None:
    cameras = some_cameras((2, 3), (30, 50), 3)
    points = torch.randn(6, 8, 3, dtype=torch.float64) + cameras.reshape(6).centers[:, None]
    points = points + 4 * cameras.reshape(6).forward[:, None]
    uv, z = project(cameras.reshape(6), points)
    theirs = to_kornia_cameras(cameras)
    assert theirs.batch_size == 6 and theirs.height.tolist() == [30] * 6 and theirs.width.tolist() == [50] * 6
    front = z > 0.1
    assert front.sum() > 40
    assert torch.allclose(theirs.project(points)[front], uv[front] - 0.5, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cameras_come_back(dtype) -> None:
    cameras = some_cameras((4,), (30, 50), 5).to(dtype)
    back = from_kornia_cameras(to_kornia_cameras(cameras))
    assert back.hw == cameras.hw and back.K.dtype == dtype
    assert torch.allclose(back.K, cameras.K, atol=1e-5)
    assert torch.allclose(back.world_from_camera, cameras.world_from_camera, atol=1e-5)


def test_what_the_other_side_cannot_hold_is_refused(refused) -> None:
    cameras = some_cameras((2,), (30, 50), 5)
    bent = Cameras(cameras.world_from_camera, cameras.K, (30, 50), lens=Lens.of(LensKind.FISHEYE, torch.zeros(2, 0)))
    with refused("kornia", "FISHEYE"):
        to_kornia_cameras(bent)
    theirs = to_kornia_cameras(cameras)
    theirs.height[1] = 31
    with refused("kornia", "(31, 50)"):
        from_kornia_cameras(theirs)
