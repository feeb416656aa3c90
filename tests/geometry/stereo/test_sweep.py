"""Plane sweeps of walls whose images and depths are known exactly."""

import math
from dataclasses import replace

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rays import ray_map
from geometry.errors import InputError
from geometry.rotation.transforms import look_at
from geometry.stereo import (
    inverse_depth_of,
    inverse_depth_planes,
    nearest_depth,
    sweep_costs,
    sweep_view,
    warp_at_inverse_depth,
)

HW = (40, 48)
SLOPE = 0.3  # the wall is y = 3 + 0.3 x before cameras that look along +y


def cameras(*places: tuple[float, float], lens: Lens | None = None) -> Cameras:
    eye = torch.tensor([[x, 0.0, z] for x, z in places], dtype=torch.float64)
    poses = look_at(eye, torch.tensor([0.0, 3.0, 0.0], dtype=torch.float64).expand_as(eye))
    return Cameras.from_fov(poses.float(), 50.0, HW, lens)


def seen(cams: Cameras) -> tuple[torch.Tensor, torch.Tensor]:
    """The wall's image [k, 3, h, w] and depth [k, 1, h, w]: its color is a smooth function of the place."""
    origins, directions = ray_map(cams)
    normal = torch.tensor([-SLOPE, 1.0, 0.0])
    along = (3 - origins @ normal) / (directions @ normal)
    points = origins + along[..., None] * directions
    waves = torch.stack([torch.sin(7 * points[..., 0] + 2 * points[..., 2] + phase) for phase in (0.0, 2.0, 4.0)], -3)
    waves = waves * torch.cos(5 * points[..., 2] - 3 * points[..., 0])[..., None, :, :]
    forward = cams.forward[..., None, None, :]
    depth = along * (directions * forward).sum(-1) if cams.lens is None else along
    return 0.5 + 0.4 * waves, depth[..., None, :, :]


def error_db(found: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> float:
    return -10 * math.log10(float((found - truth).square().mean(0)[mask].mean()))


SOURCES = cameras((-0.3, 0.0), (0.3, 0.1), (0.0, -0.3))
TARGET = cameras((0.1, 0.05))


@pytest.mark.parametrize("kind", [None, LensKind.OPENCV])
def test_looking_up_at_the_true_depth_gives_the_true_image(kind):
    lens = None if kind is None else Lens.of(kind, torch.tensor([[-0.1, 0.02, 0.001, 0.0]]))
    target = cameras((0.1, 0.05), lens=lens)
    rgb, _ = seen(SOURCES)
    truth, depth = seen(target)
    z = depth[0] if lens is None else depth[0] * (ray_map(target)[1][0] @ target.forward[0])
    warped, inside = warp_at_inverse_depth(rgb, SOURCES, target, 1 / z)
    for image, mask in zip(warped, inside):
        assert error_db(image, truth[0], mask[0]) > 38
    assert 0.6 < float(inside.float().mean()) < 1


def test_the_sky_moves_by_rotation_alone():
    source = cameras((0.0, 0.0))
    shifted = replace(source, world_from_camera=source.world_from_camera.clone())
    shifted.world_from_camera[0, :3, 3] += torch.tensor([5.0, 1.0, -2.0])
    rgb = torch.rand(1, 3, *HW)
    warped, inside = warp_at_inverse_depth(rgb, source, shifted, torch.zeros(1, *HW))
    assert bool(inside.all())
    assert torch.allclose(warped, rgb, atol=1e-4)


def test_a_sweep_finds_the_wall_and_its_image():
    rgb, _ = seen(SOURCES)
    truth, depth = seen(TARGET)
    view = sweep_view(rgb, SOURCES, TARGET, inverse_depth_planes(1.5, math.inf, 48))
    inner = torch.zeros(1, *HW, dtype=torch.bool)
    inner[:, 6:-6, 6:-6] = True
    error = (view.depth / depth[0] - 1).abs()
    assert float(error[inner].median()) < 0.01
    assert float(error[inner].quantile(0.95)) < 0.04
    assert error_db(view.rgb, truth[0], (inner & view.seen)[0]) > 32
    assert error_db(view.expected_rgb, truth[0], (inner & view.seen)[0]) > 24
    # Planes and window of one image at another size: the target may be larger than the sources.
    large = TARGET.resized((80, 96))
    assert sweep_view(rgb, SOURCES, large, inverse_depth_planes(1.5, math.inf, 16)).rgb.shape == (3, 80, 96)


def test_with_its_own_image_one_other_is_enough():
    rgb, depth = seen(SOURCES)
    planes = inverse_depth_planes(1.5, 30.0, 48)
    costs = sweep_costs(rgb[1:2], SOURCES[1:2], SOURCES[0], planes, own=rgb[0])
    assert costs.shape == (48, *HW)
    error = (1 / inverse_depth_of(costs, planes) / depth[0] - 1).abs()[:, 6:-6, 12:-6]
    assert float(error.median()) < 0.01
    with pytest.raises(InputError, match="plane sweep of one image; expected two or more"):
        sweep_costs(rgb[1:2], SOURCES[1:2], SOURCES[0], planes)


def test_results_do_not_depend_on_how_many_planes_are_done_at_once(monkeypatch):
    rgb, _ = seen(SOURCES)
    planes = inverse_depth_planes(1.5, math.inf, 12)
    whole = sweep_view(rgb, SOURCES, TARGET, planes)
    monkeypatch.setattr("geometry.stereo.sweep._VALUES_AT_ONCE", 1)
    piecewise = sweep_view(rgb, SOURCES, TARGET, planes)
    assert torch.allclose(whole.rgb, piecewise.rgb, atol=1e-5)
    assert torch.allclose(whole.expected_rgb, piecewise.expected_rgb, atol=1e-5)


def test_a_parabola_finds_the_depth_between_planes():
    planes = torch.linspace(0.1, 1.0, 10)
    true = torch.tensor([[[0.35, 0.1, 1.0, 0.62]]])
    costs = (planes[:, None, None] - true) ** 2
    assert torch.allclose(inverse_depth_of(costs, planes), true, atol=1e-5)


def test_the_nearest_depth_is_about_that_of_the_wall():
    rgb, depth = seen(SOURCES)
    found = nearest_depth(rgb, SOURCES)
    assert 0.8 < found / float(depth.quantile(0.02)) < 1.2
    enlarged = nearest_depth(rgb, SOURCES.scaled(7.0))
    assert enlarged == pytest.approx(7 * found, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rgb: sweep_view(rgb[:2], SOURCES, TARGET, inverse_depth_planes(1.0, 9.0, 4)), "one for each camera"),
        (lambda rgb: sweep_view(rgb[..., 1:], SOURCES, TARGET, inverse_depth_planes(1.0, 9.0, 4)), "of that size"),
        (lambda rgb: sweep_view(rgb / 0, SOURCES, TARGET, inverse_depth_planes(1.0, 9.0, 4)), "NaN or Inf"),
        (lambda rgb: sweep_view(rgb, SOURCES, SOURCES, inverse_depth_planes(1.0, 9.0, 4)), "single camera"),
        (lambda rgb: warp_at_inverse_depth(rgb, SOURCES, TARGET, torch.ones(1, 3, 3)), r"expected \[1, h, w\]"),
        (lambda rgb: nearest_depth(rgb[:1], SOURCES[:1]), "expected a baseline"),
        (lambda rgb: nearest_depth(rgb, SOURCES[[0, 0, 0]]), "expected a baseline"),
        (lambda rgb: inverse_depth_planes(2.0, 1.0, 9), "0 < nearest < furthest"),
        (lambda rgb: inverse_depth_planes(1.0, 2.0, 2), "3 or more"),
    ],
)
def test_what_cannot_be_swept_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(seen(SOURCES)[0])
