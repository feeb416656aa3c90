"""Baselines without learning that use cameras and times: each beside what it must be exactly."""

import torch

from geometry.camera.cameras import Cameras
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import BLIND
from worldgen.evaluation.geometric_baselines import GEOMETRIC, blend_in_time, plane_sweep, plane_warp
from worldgen.evaluation.metrics.image import psnr
from worldgen.evaluation.metrics.pose import blurred
from worldgen.evaluation.predictions import baseline_predictions
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

SIZE = 32


def tabletops(scenes: int = 2, frames: int = 5) -> Clip:
    """Tabletops of the training range from an arc of 24 degrees."""
    poses = orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, frames, arc_deg=24.0)
    cameras = Cameras.from_fov(poses.expand(scenes, -1, -1, -1), 52.0, (SIZE, SIZE))
    return render(tabletop(3, list(range(scenes)), False), cameras)


def timed(times: list[float], images: torch.Tensor | None = None) -> Clip:
    rgb = torch.rand(1, len(times), 3, 8, 8) if images is None else images
    cameras = Cameras.from_fov(torch.eye(4).expand(1, len(times), 4, 4), 50.0, (8, 8))
    cameras = Cameras(cameras.world_from_camera, cameras.K, (8, 8), time_s=torch.tensor([times]))
    return Clip(rgb, torch.ones(1, len(times), 1, 8, 8), cameras)


def test_a_plane_sweep_beats_every_baseline_that_ignores_geometry_on_narrow_arcs():
    clip = tabletops()
    known, targets = clip.frames([0, 1, 3, 4]), clip.frames([2])
    views = plane_sweep(known, targets.cameras)
    best = max(float(psnr(blind(known, targets.cameras), targets.rgb).mean()) for blind in BLIND.values())
    sweep = {name: float(psnr(view.rgb, targets.rgb).mean()) for name, view in views.items()}
    assert set(sweep) == {"plane sweep", "plane sweep, soft"}
    assert min(sweep.values()) > best + 1 and sweep["plane sweep"] > best + 4
    depth = views["plane sweep"].depth
    assert depth is not None and depth.shape == targets.depth.shape
    near = (targets.depth < 5) & (targets.depth > 0)
    assert float(((depth / targets.depth - 1).abs())[near].median()) < 0.15


def test_they_take_nothing_of_depth_or_of_the_targets_images():
    clip = tabletops(1)
    known, cameras = clip.frames([0, 4]), clip.cameras[:, 2:3]
    bare = Clip(known.rgb, torch.full_like(known.depth, torch.nan), known.cameras)
    for baseline in GEOMETRIC:
        for name, views in baseline(bare, cameras).items():
            assert torch.equal(views.rgb, baseline(known, cameras)[name].rgb), name
            assert bool(views.rgb.isfinite().all()) and views.rgb.shape == (1, 1, 3, SIZE, SIZE), name


def test_a_warped_plane_of_the_camera_that_is_given_is_its_own_image_blurred():
    clip = tabletops(1)
    known = clip.frames([2, 2, 2])
    cameras = known.cameras.world_from_camera.clone()
    cameras[0, 1:, :3, :3] = cameras[0, 1:, :3, :3] @ torch.diag(torch.tensor([-1.0, 1, -1]))  # they look away
    cameras[0, 1:, :3, 3] += torch.tensor([[0.3, 0, 0], [-0.3, 0, 0]])
    known = Clip(known.rgb, known.depth, Cameras(cameras, known.cameras.K, known.cameras.hw))
    view = plane_warp(known, known.cameras[:, :1])["plane warp, blurred"].rgb
    inner = view[0, 0, :, 4:-4, 4:-4] - blurred(known.rgb[0, 0], 1.5 * SIZE / 64)[:, 4:-4, 4:-4]
    assert float(inner.abs().max()) < 2e-2


def test_blurring_keeps_constants_and_spreads_a_point_as_a_gaussian():
    assert torch.allclose(blurred(torch.full((2, 3, 9, 9), 0.3), 2.0), torch.tensor(0.3), atol=1e-6)
    point = torch.zeros(3, 31, 31)
    point[:, 15, 15] = 1
    spread = blurred(point, 1.5)[0]
    place = torch.arange(31.0) - 15
    assert abs(float(spread.sum()) - 1) < 1e-5
    assert abs(float((spread.sum(0) * place**2).sum()) - 1.5**2) < 0.05


def test_a_blend_in_time_is_linear_between_frames_and_constant_outside():
    known = timed([4.0, 0.0, 1.0])
    targets = timed([-1.0, 0.0, 0.25, 1.0, 3.0, 9.0]).cameras
    found = blend_in_time(known, targets)["blend in time"].rgb[0]
    late, first, second = known.rgb[0]
    expected = [first, first, torch.lerp(first, second, 0.25), second, torch.lerp(second, late, 2 / 3), late]
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)


def test_what_says_nothing_is_left_out():
    clip = tabletops(1)
    one = clip.frames([0])
    assert plane_sweep(one, clip.cameras[:, 1:]) == {} and plane_warp(one, clip.cameras[:, 1:]) == {}
    still = timed([2.0, 2.0])
    assert [baseline(still, still.cameras) for baseline in GEOMETRIC] == [{}, {}, {}]
    assert not {"plane sweep", "blend in time"} & set(baseline_predictions(one, clip.frames([1]), False))
    both = baseline_predictions(clip.frames([0, 4]), clip.frames([2]), False)
    assert {"plane sweep", "plane sweep, soft", "plane warp, blurred"} < set(both)
