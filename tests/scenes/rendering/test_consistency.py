"""True depth carries one view's pixels to where another view has them: the ceiling of every image metric."""

import math

import pytest
import torch
import torch.nn.functional as F

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.rotation.transforms import look_at
from worldgen.core.clip import Clip
from worldgen.scenes.families.family import draw
from worldgen.scenes.rendering.renderer import render

SIDE = 128


def pairs(degrees: float, count: int) -> Clip:
    """Textured tabletops from two cameras `degrees` apart, 3 x 3 rays a pixel."""
    scene = draw("tabletop", 1, list(range(count)), True)
    azimuth = torch.linspace(0, 5, count)[:, None] + torch.tensor([0.0, math.radians(degrees)])
    eye = torch.stack([3.2 * azimuth.cos(), 3.2 * azimuth.sin(), torch.full_like(azimuth, 1.6)], -1)
    cameras = Cameras.from_fov(look_at(eye, torch.tensor([0.0, 0.0, 0.3])), 45.0, (SIDE, SIDE))
    return render(scene, cameras, supersample=3)


@pytest.mark.parametrize(("degrees", "decibels"), [(14.0, 34.0), (46.0, 30.0)])
def test_a_warp_by_true_depth_gives_the_other_view_away_from_silhouettes(degrees: float, decibels: float) -> None:
    clip = pairs(degrees, 10)
    assert clip.instances is not None
    ids = clip.instances[:, :, 0].float()
    near_edge = F.max_pool2d(ids, 7, 1, 3) != -F.max_pool2d(-ids, 7, 1, 3)  # within 3 pixels of a silhouette
    depth = clip.depth[:, 0]
    points = unproject(clip.cameras[:, 0], torch.where(depth.isfinite(), depth, 1.0)).flatten(1, 2)
    uv, z = project(clip.cameras[:, 1], points)
    grid = (uv / SIDE * 2 - 1).view(-1, SIDE, SIDE, 2)
    warped = F.grid_sample(clip.rgb[:, 1], grid, mode="bicubic", align_corners=False)
    there = F.grid_sample(clip.depth[:, 1].clamp(max=1e3), grid, mode="nearest", align_corners=False)
    edge = F.grid_sample(near_edge[:, 1:].float(), grid, mode="nearest", align_corners=False) > 0
    seen = (there - z.view_as(there)).abs() < 0.02 * there
    fair = depth.isfinite() & (grid.abs().amax(-1)[:, None] < 1) & seen & ~edge & ~near_edge[:, :1]
    error = (warped - clip.rgb[:, 0]).square().mean(1, keepdim=True)
    psnr = torch.stack([-10 * e[f].mean().log10() for e, f in zip(error, fair)])
    assert fair.double().mean() > 0.3
    assert psnr.mean() >= decibels, psnr
