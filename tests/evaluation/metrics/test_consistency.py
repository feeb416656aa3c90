"""Consistency where the truth can be written down: a textured wall seen by cameras moved along it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.consistency import (
    OTHERS,
    TRUE,
    consistency,
    consistency_figures,
    epipolar_distances,
    find_matches,
    reprojection_psnr,
)
from worldgen.evaluation.metrics.intervals import Interval
from worldgen.evaluation.predictions import Prediction

SIZE, DEPTH_M = 40, 4.0


def texture(u: Tensor, v: Tensor) -> Tensor:
    """Smooth colors of a wall by its place in pixels, with corners everywhere and nothing that repeats nearby."""
    parts = [torch.sin(0.5 * u + 0.2 * v + k * k) + torch.sin(0.43 * v - 0.27 * u + 2 * k) for k in range(3)]
    return 0.5 + 0.2 * torch.stack(parts)


def wall(moves_px: list[tuple[float, float]], drawn_px: list[tuple[float, float]] | None = None) -> Clip:
    """A wall straight ahead, seen by cameras [f] moved right and down by pixels of it, drawn as if from elsewhere."""
    moves = torch.tensor(moves_px)
    drawn = moves if drawn_px is None else torch.tensor(drawn_px)
    pose = torch.eye(4).expand(len(moves), 4, 4).clone()
    cameras = Cameras.from_fov(pose, 60.0, (SIZE, SIZE))
    pose[:, :2, 3] = moves * DEPTH_M / cameras.K[0, 0, 0]
    v, u = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    rgb = torch.stack([texture(u + move[0], v + move[1]) for move in drawn])
    depth = torch.full((len(moves), 1, SIZE, SIZE), DEPTH_M)
    return Clip(rgb, depth, replace(cameras, world_from_camera=pose))


def test_true_images_agree_up_to_resampling() -> None:
    truth = wall([(0.0, 0.0), (5.0, 0.0), (-2.5, 3.5)])
    assert float(reprojection_psnr(truth.rgb[:2], truth.frames([0, 1])).min()) > 100
    assert float(reprojection_psnr(truth.rgb, truth).min()) > 35
    figures = consistency(truth.rgb[None], Clip(truth.rgb[None], truth.depth[None], truth.cameras[None]))
    assert float(figures["shift_px"]) < 0.05 and float(figures["epipolar_px"]) < 0.05 and float(figures["tsed"]) == 1


def test_an_offset_of_color_costs_its_own_square() -> None:
    truth = wall([(0.0, 0.0), (5.0, 0.0)])
    brighter = truth.rgb + torch.tensor([0.0, 0.1])[:, None, None, None]
    assert torch.allclose(reprojection_psnr(brighter, truth), torch.full((2,), 20.0), atol=1e-3)


def test_only_what_both_views_see_is_compared() -> None:
    truth = wall([(0.0, 0.0), (10.0, 0.0)])
    spoilt = truth.rgb.clone()
    spoilt[0, :, :, :9] = 0.0  # the second view begins ten columns further right
    assert float(reprojection_psnr(spoilt, truth).min()) > 100
    apart = wall([(0.0, 0.0), (100.0, 0.0)])
    assert bool(reprojection_psnr(apart.rgb, apart).isnan().all())


@pytest.mark.parametrize("off", [(2.0, 0.0), (0.0, 1.0), (0.0, 2.0), (1.5, -2.5)])
def test_a_view_drawn_pixels_off_is_found_by_as_many_and_the_epipolar_distance_finds_its_part_across(
    off: tuple[float, float],
) -> None:
    # The cameras move to the right: epipolar lines are rows, and only what is off across them is seen by both lines.
    truth = wall([(0.0, 0.0), (6.0, 0.0)])
    shown = wall([(0.0, 0.0), (6.0, 0.0)], [(0.0, 0.0), (6.0 - off[0], 0.0 - off[1])])
    matches = find_matches(shown.rgb, truth)
    assert len(matches.matched) >= 10 and bool(matches.matched.all())
    assert torch.allclose(matches.shift.median(0).values, torch.tensor(off), atol=0.15)
    distance = epipolar_distances(matches, truth.cameras[0], truth.cameras[1]).median()
    assert float(distance) == pytest.approx(math.sqrt(2) * abs(off[1]), abs=0.15)
    batch = Clip(truth.rgb[None], truth.depth[None], truth.cameras[None])
    figures = consistency(shown.rgb[None], batch)
    assert float(figures["shift_px"]) == pytest.approx(math.hypot(*off), abs=0.15)
    assert float(figures["tsed"]) == float(math.sqrt(2) * abs(off[1]) < 2)


def test_one_color_has_nothing_to_match_and_fails_every_pair() -> None:
    truth = wall([(0.0, 0.0), (6.0, 0.0)])
    batch = Clip(truth.rgb[None], truth.depth[None], truth.cameras[None])
    figures = consistency(torch.full_like(batch.rgb, 0.5), batch)
    assert bool(figures["shift_px"].isnan()) and float(figures["tsed"]) == 0


def test_the_share_is_one_for_the_truth_and_none_for_another_scene() -> None:
    clips = [wall([(0.0, 0.0), (5.0, 0.0)]), wall([(20.0, 7.0), (25.0, 8.0)]), wall([(50.0, 3.0), (44.0, 3.0)])]
    poses = torch.stack([clip.cameras.world_from_camera for clip in clips])
    K = torch.stack([clip.cameras.K for clip in clips])
    rgb = torch.stack([clip.rgb for clip in clips])
    rgb = (rgb + 0.03 * torch.randn_like(rgb)).clamp(0, 1)
    targets = Clip(rgb, torch.stack([clip.depth for clip in clips]), Cameras(poses, K, (SIZE, SIZE)))
    between = 0.5 * rgb + 0.5 * rgb.roll(-1, 0)
    table = consistency_figures(targets, {"between": Prediction(between), "mean color": Prediction(0 * rgb)}, 0)
    assert set(table) == {TRUE, OTHERS, "between"}
    shares = {name: figures["reprojection_share"] for name, figures in table.items()}
    below = table[TRUE]["reprojection_below_db"]
    assert isinstance(below, Interval) and below.mean == 0
    means = {name: share.mean for name, share in shares.items() if isinstance(share, Interval)}
    assert means[TRUE] == 1 and means[OTHERS] == 0
    assert means["between"] is not None and 0.05 < means["between"] < 0.95
    assert consistency_figures(targets[:1], {}, 0) == {} == consistency_figures(targets.frames([0]), {}, 0)
