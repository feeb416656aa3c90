"""Lens distortion."""

import math

import pytest
import torch
from safetensors.torch import load_file

from geometry.lenses import distort, fold_radius, undistort
from geometry.rays import camera_directions, pixel_centres

MILD = torch.tensor([-0.05, 0.01, 0.001, -0.002, 0.003], dtype=torch.float64)


def lens_K(hw: tuple[int, int]) -> torch.Tensor:
    return torch.tensor([[40.0, 0, hw[1] / 2 - 1], [0, 42.0, hw[0] / 2 + 2], [0, 0, 1]], dtype=torch.float64)


def coordinates(hw: tuple[int, int]) -> torch.Tensor:
    """A picture whose values are its own pixel positions: bilinear sampling reads off where it sampled."""
    uv = pixel_centres(hw, dtype=torch.float64)
    return torch.cat([uv, torch.ones_like(uv[..., :1])], -1).movedim(-1, 0)


def test_distorted_pixels_agree_with_opencv(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    points = golden["points_cam"]
    moved = distort(points[..., :2] / points[..., 2:], golden["radtan_k1k2p1p2k3"])
    uv = torch.cat([moved, torch.ones_like(moved[..., :1])], -1) @ golden["K"].mT
    assert (uv[..., :2] - golden["opencv_pixels_radtan"]).abs().max() < 1e-9


def test_distorting_opencvs_undistorted_points_gives_back_where_they_were(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    moved = distort(golden["opencv_undistorted_xy"], golden["radtan_k1k2p1p2k3"])
    uv = torch.cat([moved, torch.ones_like(moved[..., :1])], -1) @ golden["K"].mT
    error = (uv[..., :2] - golden["opencv_pixels_radtan"])[golden["distortion_valid"]]
    assert len(error) > 900 and error.abs().median() < 1e-6 and error.abs().max() < 0.1


def test_an_undistorted_pixel_is_read_where_the_lens_put_it_to_a_fraction_of_a_pixel() -> None:
    hw = (48, 64)
    K = lens_K(hw)
    result, same_K, known = undistort(coordinates(hw), K, MILD)
    xy = camera_directions(K, pixel_centres(hw, dtype=torch.float64))[..., :2]
    seen = distort(xy.flatten(0, 1), MILD)
    uv = (torch.cat([seen, torch.ones_like(seen[..., :1])], -1) @ K.T)[..., :2].view(*hw, 2)
    inner = ((uv > 0.5) & (uv < torch.tensor([64, 48]) - 0.5)).all(-1)  # where four pixels surround the position
    assert torch.equal(same_K, K) and inner.sum() > 2000
    assert (result[:2].movedim(0, -1) - uv)[inner].abs().max() < 1e-9
    assert torch.equal(known[0], ((uv >= 0) & (uv <= torch.tensor([64, 48]))).all(-1))
    assert (result[2] - known[0].double()).abs().max() < 1e-12


def test_no_distortion_changes_nothing() -> None:
    rgb = torch.rand(3, 9, 11)
    result, _, known = undistort(rgb, lens_K((9, 11)).float(), torch.zeros(5))
    assert torch.equal(result, rgb) and bool(known.all())


@pytest.mark.parametrize(
    ("coefficients", "radius"),
    [
        ([0, 0, 0, 0, 0], math.inf),
        ([0.3, 0.2, 0, 0, 0.1], math.inf),
        ([-1 / 3, 0, 0, 0, 0], 1),
        ([-4 / 3, 0, 0, 0, 0], 0.5),
    ],
)
def test_the_lens_folds_where_its_radius_stops_growing(coefficients, radius) -> None:
    values = torch.tensor(coefficients, dtype=torch.float64)
    assert fold_radius(values) == pytest.approx(radius)
    r = torch.linspace(0, min(radius, 3), 1000, dtype=torch.float64)
    moved = distort(torch.stack([r, torch.zeros_like(r)], -1), values)[:, 0]
    assert bool((moved[1:] > moved[:-1]).all())


def test_directions_beyond_the_fold_are_unknown_though_they_fall_into_the_picture() -> None:
    hw, strong = (48, 64), torch.tensor([-4 / 3, 0, 0, 0, 0], dtype=torch.float64)
    K = lens_K(hw)
    _, _, known = undistort(coordinates(hw), K, strong)
    radius = camera_directions(K, pixel_centres(hw, dtype=torch.float64))[..., :2].norm(dim=-1)
    assert torch.equal(known[0], radius < 0.5) and 500 < int(known.sum()) < 48 * 64


def test_coefficients_that_are_not_finite_are_refused(refused) -> None:
    with refused("lens coefficients"):
        undistort(torch.rand(3, 8, 8), lens_K((8, 8)), torch.tensor([math.nan, 0, 0, 0, 0]))
