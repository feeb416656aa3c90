"""Baselines on clips whose result is known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import (
    BLIND,
    ORACLES,
    Oracle,
    backward_warp_oracle,
    constant_depth,
    copy_nearest,
    forward_warp_oracle,
    mean_color,
    row_depth,
    row_mean,
    seen,
)
from worldgen.evaluation.metrics.image import psnr

SIZE = 16


def ring_cameras(azimuths_deg: list[float], radius: float = 3.0) -> Cameras:
    """Cameras [1, f] on a circle about the origin, looking at it."""
    angle = torch.deg2rad(torch.tensor(azimuths_deg))
    eyes = radius * torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.5)], -1)
    return Cameras.from_fov(look_at(eyes, torch.zeros(3))[None], 50.0, (SIZE, SIZE))


def random_clip(azimuths_deg: list[float]) -> Clip:
    """Random images at about the right depth."""
    cameras = ring_cameras(azimuths_deg)
    frames = len(azimuths_deg)
    return Clip(torch.rand(1, frames, 3, SIZE, SIZE), 3 + torch.rand(1, frames, 1, SIZE, SIZE), cameras)


def wall(shift_px: list[float], depth_m: float = 4.0) -> Clip:
    """A wall straight ahead, colored by its place, seen from cameras moved right by whole pixels of it."""
    pose = torch.eye(4).expand(1, len(shift_px), 4, 4).clone()
    cameras = Cameras.from_fov(pose, 60.0, (SIZE, SIZE))
    focal = float(cameras.K[0, 0, 0, 0])
    pose[0, :, 0, 3] = torch.tensor(shift_px) * depth_m / focal
    column = torch.arange(SIZE) + torch.tensor(shift_px)[:, None]
    rgb = (0.5 + 0.4 * torch.sin(column[:, None, None] * torch.tensor([0.3, 0.5, 0.7])[:, None, None])).expand(
        -1, 3, SIZE, SIZE
    )
    depth = torch.full((1, len(shift_px), 1, SIZE, SIZE), depth_m)
    return Clip(rgb[None], depth, Cameras(pose, cameras.K, cameras.hw))


@pytest.mark.parametrize("name", [*BLIND, *ORACLES])
def test_every_image_baseline_predicts_each_target_of_each_clip_alone(name: str) -> None:
    clips = [random_clip([0, 20, 50, 80]), random_clip([100, 90, 200, 95])]
    poses, K = (torch.cat([getattr(clip.cameras, part) for clip in clips]) for part in ("world_from_camera", "K"))
    images, depth = (torch.cat([getattr(clip, part) for clip in clips]) for part in ("rgb", "depth"))
    both = Clip(images, depth, Cameras(poses, K, (SIZE, SIZE)))

    def predict(clip: Clip, targets: list[int]) -> Tensor:
        known, wanted = clip.frames([0, 1]), clip.frames(targets)
        return BLIND[name](known, wanted.cameras) if name in BLIND else ORACLES[name](known, wanted).rgb

    together = predict(both, [2, 3])
    assert together.shape == (2, 2, 3, SIZE, SIZE)
    for b, clip in enumerate(clips):
        for t in range(2):
            assert torch.allclose(predict(clip, [2 + t])[0, 0], together[b, t], atol=1e-6)


def test_no_one_color_scores_better_than_the_mean_on_the_known_images() -> None:
    clip = random_clip([0, 30])
    best = psnr(mean_color(clip, clip.cameras).flatten(1, 2), clip.rgb.flatten(1, 2))
    for color in (0.4, 0.45, 0.55, 0.6):
        other = torch.full_like(clip.rgb, color)
        assert psnr(other.flatten(1, 2), clip.rgb.flatten(1, 2)) < best


def test_the_row_mean_of_an_image_without_change_along_its_rows_is_that_image() -> None:
    rows = torch.rand(1, 1, 3, SIZE, 1).expand(1, 1, 3, SIZE, SIZE)
    known = Clip(rows, torch.ones(1, 1, 1, SIZE, SIZE), ring_cameras([0]))
    assert torch.allclose(row_mean(known, known.cameras), rows)
    turned = Clip(rows.transpose(-1, -2), known.depth, known.cameras)
    assert torch.allclose(row_mean(turned, known.cameras), mean_color(turned, known.cameras))


def test_the_copy_is_of_the_nearest_image_along_the_orbit() -> None:
    clip = random_clip([0, 40, 80, 9, 75])
    copies = copy_nearest(clip.frames([0, 1, 2]), clip.cameras[:, 3:])
    assert torch.equal(copies[0], clip.rgb[0, [0, 2]])


def test_the_oracle_returns_the_image_of_a_camera_that_is_given() -> None:
    clip = random_clip([0, 180])
    assert torch.allclose(forward_warp_oracle(clip.frames([0]), clip.frames([0])).rgb[0, 0], clip.rgb[0, 0])


def test_the_oracle_moves_a_wall_by_whole_pixels_and_fills_from_its_edge() -> None:
    clip = wall([0.0, 3.0])
    warped = forward_warp_oracle(clip.frames([0]), clip.frames([1])).rgb[0, 0]
    assert torch.allclose(warped[..., :-3], clip.rgb[0, 1, ..., :-3], atol=1e-6)
    assert torch.allclose(warped[..., -3:], clip.rgb[0, 0, ..., -1:].expand(3, SIZE, 3), atol=1e-6)


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
def test_no_oracle_depends_on_the_image_to_predict(oracle: Oracle) -> None:
    clip = random_clip([0, 20])
    other = replace(clip, rgb=1 - clip.rgb)
    ours, theirs = (oracle(clip.frames([0]), truth.frames([1])) for truth in (clip, other))
    assert torch.equal(ours.rgb, theirs.rgb)


def test_the_backward_oracle_samples_a_wall_between_pixels_where_the_forward_one_can_only_round() -> None:
    clip = wall([0.0, 2.5])
    forward, backward = (f(clip.frames([0]), clip.frames([1])).rgb[0, 0, ..., 1:-4] for f in ORACLES.values())
    truth = clip.rgb[0, 1, ..., 1:-4]
    assert 5 * (backward - truth).abs().max() < (forward - truth).abs().max()


def test_the_backward_oracle_takes_each_pixel_from_the_nearest_camera_it_is_visible_to() -> None:
    clip = wall([0.0, 2.0, -9.0])
    painted = torch.stack([torch.full_like(clip.rgb[0, 0], value) for value in (0.2, 0.8, 0.5)])[None]
    known = Clip(painted, clip.depth, clip.cameras)
    predicted = backward_warp_oracle(known.frames([0, 2]), known.frames([1])).rgb[0, 0]
    columns = torch.arange(SIZE).expand_as(predicted)
    # All but the last two columns are visible to the camera 2 px away; those two are not visible to the far one either.
    assert torch.allclose(predicted, torch.full_like(predicted, 0.2), atol=1e-6)
    far_side = backward_warp_oracle(known.frames([0, 2]), wall([0.0, -4.0]).frames([1])).rgb[0, 0]
    assert torch.allclose(far_side, torch.where(columns < 4, 0.5, 0.2), atol=1e-6)


def test_a_warp_knows_which_pixels_it_looked_up() -> None:
    clip = wall([0.0, 3.0])
    columns = torch.arange(SIZE).expand(1, 1, 1, SIZE, SIZE)
    for oracle in ORACLES.values():
        looked_up = oracle(clip.frames([0]), clip.frames([1])).looked_up
        assert looked_up is not None and torch.equal(looked_up, (columns < SIZE - 3).float())
    away = ring_cameras([0, 180])
    poses = away.world_from_camera.clone()
    poses[0, 1, :3, :3] = poses[0, 1, :3, :3] @ torch.diag(torch.tensor([-1.0, 1, -1]))  # it looks away
    apart = replace(random_clip([0, 180]), cameras=Cameras(poses, away.K, away.hw))
    for oracle in ORACLES.values():
        views = oracle(apart.frames([0]), apart.frames([1]))
        assert views.looked_up is not None and not views.looked_up.any()
        assert torch.allclose(views.rgb, apart.rgb[:, :1].mean((-2, -1), keepdim=True).expand_as(views.rgb), atol=1e-6)


def test_seen_is_what_the_given_images_share() -> None:
    clip = wall([0.0, 3.0, -2.0])
    one, two = (seen(clip.frames(some), clip.frames([2])) for some in ([1], [0, 1]))
    columns = torch.arange(SIZE).expand(1, 1, 1, SIZE, SIZE)
    assert torch.equal(one, columns >= 5)
    assert torch.equal(two, columns >= 2)


def test_what_is_seen_of_each_target_is_its_own() -> None:
    clip = wall([0.0, 3.0, -2.0, 5.0])
    depth = clip.depth.clone()
    depth[:, 3] *= 1.5  # nowhere near the wall in the other images
    changed = Clip(clip.rgb, depth, clip.cameras)
    together = seen(changed.frames([0, 1]), changed.frames([2, 3]))
    assert together[:, 0].any() and not together[:, 1].any()
    assert torch.equal(together[:, :1], seen(changed.frames([0, 1]), changed.frames([2])))


def test_constant_depth_is_the_median_of_what_is_known_and_finite() -> None:
    clip = random_clip([0, 30])
    depth = torch.full_like(clip.depth, 2.0)
    depth[:, 0, :, :12] = 0.0
    depth[:, 1, :, :12] = math.inf
    depth[:, :, :, 15] = 3.0
    predicted = constant_depth(Clip(clip.rgb, depth, clip.cameras), 3)
    assert torch.equal(predicted, torch.full((1, 3, 1, SIZE, SIZE), 2.0))


def test_row_depth_is_the_median_of_each_row_sky_included() -> None:
    clip = random_clip([0, 30, 60])
    depth = torch.arange(1, SIZE + 1).float()[:, None].expand(1, 3, 1, SIZE, SIZE).clone()
    depth[:, :, :, 0] = math.inf
    depth[:, 0] += 100
    predicted = row_depth(Clip(clip.rgb, depth, clip.cameras), 2)
    assert torch.equal(predicted, depth[:, 1:])


def test_the_row_mean_is_over_all_known_frames() -> None:
    known = random_clip([0, 30, 60])
    expected = known.rgb.double().mean((1, 4))[0, :, :, None].float()  # a color a row, of three frames
    assert torch.allclose(row_mean(known, known.cameras[:, :2])[0], expected.expand(2, 3, SIZE, SIZE), atol=1e-6)
