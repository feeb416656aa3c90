"""Undistortion and other changes of lens: images are read where the lenses say."""

from dataclasses import replace

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lens_models import distort
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rays import camera_directions, lens_mask, pixel_centers, ray_map
from geometry.image.resampling import resample, resampling_map, undistort
from geometry.rotation.transforms import rigid, rotation_about

MILD = torch.tensor([-0.05, 0.01, 0.001, -0.002, 0.003], dtype=torch.float64)


def camera(hw: tuple[int, int], coefficients: torch.Tensor | None = None) -> Cameras:
    K = torch.tensor([[40.0, 0, hw[1] / 2 - 1], [0, 42.0, hw[0] / 2 + 2], [0, 0, 1]], dtype=torch.float64)
    lens = None if coefficients is None else Lens.of(LensKind.OPENCV, coefficients)
    return Cameras(torch.eye(4, dtype=torch.float64), K, hw, lens=lens)


def coordinates(hw: tuple[int, int]) -> torch.Tensor:
    """An image whose values are its own pixel positions: bilinear sampling reads off where it sampled."""
    uv = pixel_centers(hw, dtype=torch.float64)
    return torch.cat([uv, torch.ones_like(uv[..., :1])], -1).movedim(-1, 0)


def test_an_undistorted_pixel_is_read_where_the_lens_put_it_to_a_fraction_of_a_pixel() -> None:
    hw = (48, 64)
    bent = camera(hw, MILD)
    result, pinhole, known = undistort(coordinates(hw), bent)
    xy = camera_directions(pinhole, pixel_centers(hw, dtype=torch.float64))[..., :2]
    seen = distort(xy.flatten(0, 1), MILD)
    uv = (torch.cat([seen, torch.ones_like(seen[..., :1])], -1) @ bent.K.T)[..., :2].view(*hw, 2)
    inner = ((uv > 0.5) & (uv < torch.tensor([64, 48]) - 0.5)).all(-1)  # where four pixels surround the position
    assert torch.equal(pinhole.K, bent.K) and pinhole.lens is None and inner.sum() > 2000
    assert (result[:2].movedim(0, -1) - uv)[inner].abs().max() < 1e-9
    assert torch.equal(known[0], ((uv >= 0) & (uv <= torch.tensor([64, 48]))).all(-1))
    assert (result[2] - known[0].double()).abs().max() < 1e-12


def test_no_distortion_changes_nothing() -> None:
    rgb = torch.rand(3, 9, 11)
    result, _, known = undistort(rgb, camera((9, 11)))
    assert torch.equal(result, rgb) and bool(known.all())
    zeros = camera((9, 11), torch.zeros(5, dtype=torch.float64))
    result, _, known = undistort(rgb, zeros)
    assert torch.allclose(result, rgb, atol=1e-6) and bool(known.all())


def test_directions_beyond_the_fold_are_unknown_though_they_fall_into_the_image() -> None:
    hw, strong = (48, 64), torch.tensor([-4 / 3, 0, 0, 0, 0], dtype=torch.float64)
    _, pinhole, known = undistort(coordinates(hw), camera(hw, strong))
    radius = camera_directions(pinhole, pixel_centers(hw, dtype=torch.float64))[..., :2].norm(dim=-1)
    assert torch.equal(known[0], radius < 0.5) and 500 < int(known.sum()) < 48 * 64


def turned_fisheyes(batch: tuple[int, ...]) -> tuple[Cameras, Cameras]:
    """Whole panoramas, and fisheyes that look elsewhere from the same places."""
    pose = rigid(rotation_about(torch.randn(*batch, 3), torch.rand(batch)), torch.randn(*batch, 3)).double()
    axis, angle = torch.randn(*batch, 3, dtype=torch.float64), torch.randn(batch, dtype=torch.float64)
    elsewhere = pose @ rigid(rotation_about(axis, angle), torch.zeros(*batch, 3, dtype=torch.float64))
    panorama = Lens.of(LensKind.EQUIRECTANGULAR, torch.zeros(*batch, 0, dtype=torch.float64))
    fisheye = Lens.of(LensKind.FISHEYE, torch.tensor([0.03, 0.002], dtype=torch.float64).expand(*batch, 2))
    return Cameras.from_fov(pose, 180.0, (64, 128), panorama), Cameras.from_fov(elsewhere, 170.0, (30, 40), fisheye)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 2)])
def test_an_image_of_directions_is_one_after_any_change_of_lens_and_gaze(batch) -> None:
    panorama, fisheye = turned_fisheyes(batch)
    world = ray_map(panorama)[1].movedim(-1, -3)
    seen, known = resample(world, panorama, fisheye)
    assert torch.equal(known, lens_mask(fisheye)) and bool(known.all())
    error = (seen - ray_map(fisheye)[1].movedim(-1, -3)).norm(dim=-3)
    # Half a pixel of the panorama is 1.4 degrees, at the seam where it begins and ends; elsewhere it is interpolated.
    assert float(error.median()) < 5e-4 and float(error.quantile(0.99)) < 0.03


def test_cameras_at_different_positions_are_refused(refused) -> None:
    panorama, fisheye = turned_fisheyes((2,))
    apart = replace(fisheye, world_from_camera=fisheye.world_from_camera.clone())
    apart.world_from_camera[0, 0, 3] += 0.5
    with refused("0.5 m apart"):
        resampling_map(panorama, apart)
    with refused("(2,)", "(1,)"):
        resampling_map(panorama, fisheye[:1])
