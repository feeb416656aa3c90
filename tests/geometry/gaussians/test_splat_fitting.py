"""Gaussians fitted to images: new views become right, the same way each time."""

import math

import torch

from geometry.camera.cameras import Cameras
from geometry.gaussians.rendering import render_splats
from geometry.gaussians.splat_fitting import _mass, _Parameters, fit_splats
from geometry.gaussians.splats import Splats
from geometry.points.pointclouds import PointCloud
from geometry.trajectory.paths import orbit

HW = (32, 32)


def images(count: int = 10) -> tuple[torch.Tensor, torch.Tensor, Cameras]:
    """A ring of colored Gaussians about the origin from all around, with depth; the sky where they hide nothing."""
    turn = torch.arange(24) * (2 * torch.pi / 24)
    means = torch.stack([turn.cos(), turn.sin(), 0.5 * (3 * turn).sin()], -1)
    colors = torch.stack([0.5 + 0.5 * (turn + shift).cos() for shift in (0.0, 2.0, 4.0)], -1)
    ring = Splats(
        means,
        torch.randn(24, 4),
        torch.full((24, 3), 0.2),
        torch.full((24,), 0.95),
        ((colors - 0.5) / 0.28209479)[:, None],
    )
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 4.0, 30.0, count), 45.0, HW)
    rgb, depth, alpha = render_splats(ring, cameras, torch.tensor([0.3, 0.5, 0.7]))
    return rgb, torch.where(alpha > 0.5, depth, torch.inf), cameras


def error_db(fitted: Splats, rgb: torch.Tensor, cameras: Cameras) -> float:
    return float(-10 * (render_splats(fitted, cameras)[0].detach() - rgb).square().mean().log10())


def test_a_short_fit_brings_held_out_views_more_than_four_db_nearer(unchecked) -> None:
    rgb, depth, cameras = images()
    known, held = slice(0, 10, 2), slice(1, 10, 2)
    start, fitted = (fit_splats(rgb[known], cameras[known], None, depth[known], 300, steps) for steps in (0, 100))
    assert error_db(fitted, rgb[held], cameras[held]) > error_db(start, rgb[held], cameras[held]) + 4
    assert len(fitted) == len(start) and 250 < len(start) < 350
    assert not any(part.requires_grad for part in vars(fitted).values())


def test_the_seed_decides_and_the_clock_ends_it(unchecked) -> None:
    rgb, depth, cameras = images(3)
    one, two, other = (fit_splats(rgb, cameras, None, depth, 100, 5, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(two).values()))
    assert not torch.equal(one.means, other.means)
    fit_splats(rgb, cameras, None, depth, 100, steps=10**9, seconds=0.1)


def test_it_starts_on_the_surfaces_and_in_the_sky(unchecked) -> None:
    rgb, depth, cameras = images()
    start = fit_splats(rgb, cameras, None, depth, 300, steps=0)
    distance = start.means.norm(dim=-1)
    sky = distance > 10
    assert 20 < int(sky.sum()) < 280 and distance[~sky].max() < 2.5
    assert (start.colors_from(torch.zeros(3))[sky] - torch.tensor([0.3, 0.5, 0.7])).abs().max() < 0.3
    assert start.opacities.min() == start.opacities.max() == 0.5
    few = fit_splats(rgb, cameras, PointCloud(torch.randn(10, 3), torch.rand(10, 3)), gaussians=100, steps=0)
    assert len(few) == 90 and int((few.opacities > 0.4).sum()) == 10  # the others wait, unseen


def test_equal_gaussians_one_behind_another_hide_what_one_did() -> None:
    share, copies = torch.tensor([0.3, 0.3, 0.5, 0.1]), torch.tensor([1, 2, 5, 8])
    expected = [
        sum(
            math.comb(i - 1, k) * (-1) ** k * a ** (k + 1) / math.sqrt(k + 1) for i in range(1, n + 1) for k in range(i)
        )
        for a, n in zip(share.tolist(), copies.tolist())
    ]
    assert torch.allclose(_mass(share, copies), torch.tensor(expected), rtol=1e-4)


def test_relocation_uses_the_invisible_and_keeps_the_image(unchecked) -> None:
    _, _, cameras = images(4)
    cloud = PointCloud(torch.rand(40, 3) * 2 - 1, torch.rand(40, 3))
    parameters = _Parameters(cloud, 3.0, 60, 0, torch.Generator())
    parameters.step(render_splats(parameters.splats(), cameras[0])[0].sum() * 0, 1.0)
    with torch.no_grad():
        before = parameters.splats()
    assert int((before.opacities > 0.4).sum()) == 40
    parameters.relocate(torch.Generator().manual_seed(0))
    with torch.no_grad():
        after = parameters.splats()
    assert int((after.opacities > 0.1).sum()) == len(after) == 54
    alpha = [render_splats(some, cameras)[2].detach() for some in (before, after)]
    assert (alpha[0] - alpha[1]).abs().mean() < 0.1 * alpha[0].mean()
    assert abs(float(alpha[1].mean() / alpha[0].mean()) - 1) < 0.05


def test_what_cannot_be_fitted_is_refused(refused, unchecked) -> None:
    rgb, depth, cameras = images(2)
    with refused("neither points nor depth"):
        fit_splats(rgb, cameras)
    with refused("0 points"):
        fit_splats(rgb, cameras, None, torch.zeros_like(depth))
    with refused("rgb (1, 3, 32, 32)"):
        fit_splats(rgb[:1], cameras, None, depth)
    with refused("0 images"):
        fit_splats(rgb[:0], cameras[:0], PointCloud(torch.rand(9, 3), torch.rand(9, 3)))
    for wrong in ({"degree": 4}, {"gaussians": 3}, {"steps": -1}, {"seconds": -2.0}):
        with refused(str(next(iter(wrong.values())))):
            fit_splats(rgb, cameras, None, depth, **wrong)  # type: ignore[arg-type]
