"""Two views of one scene, against the reference libraries and against points seen by both."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import pixel_centers
from geometry.image.epipolar import (
    epipolar_lines,
    epipolar_mask,
    essential,
    fundamental,
    sampson_distance,
    symmetric_epipolar_distance,
    triangulate,
)
from geometry.rotation.transforms import invert_rigid, look_at


@pytest.fixture
def golden(shared: Path) -> dict[str, torch.Tensor]:
    return load_file(shared / "golden/epipolar.safetensors")


def pair(golden: dict[str, torch.Tensor]) -> tuple[Cameras, Cameras]:
    first, second = (Cameras(invert_rigid(golden[f"w2c{i}"]), golden[f"K{i}"], (480, 640)) for i in (1, 2))
    return first, second


def test_matrices_agree_with_the_reference(golden: dict[str, torch.Tensor]) -> None:
    for ours, theirs in [
        (essential(*pair(golden)), golden["essential"]),
        (fundamental(*pair(golden)), golden["fundamental"]),
    ]:
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_lines_and_distances_agree_with_the_reference(golden: dict[str, torch.Tensor]) -> None:
    F, noisy = golden["fundamental"], (golden["x1_noisy"], golden["x2_noisy"])
    for ours, theirs in [
        (epipolar_lines(F, golden["x1"]), golden["epilines_in_2"]),
        (epipolar_lines(F.mT, golden["x2"]), golden["epilines_in_1"]),
    ]:
        sign = (ours * theirs).sum(-1, keepdim=True).sign()  # a line's sign is free
        assert torch.allclose(ours * sign, theirs, atol=1e-8)
    assert torch.allclose(sampson_distance(F, *noisy).square(), golden["sampson_squared_noisy"], rtol=1e-7)
    assert torch.allclose(symmetric_epipolar_distance(F, *noisy).square(), golden["symmetric_squared_noisy"], rtol=1e-7)
    lines = epipolar_lines(F, noisy[0])
    distance = (lines[..., :2] * noisy[1]).sum(-1) + lines[..., 2]
    assert torch.allclose(distance.abs(), golden["left_to_right_noisy"], atol=1e-8)


def test_triangulation_agrees_with_the_reference_and_finds_the_points(golden: dict[str, torch.Tensor]) -> None:
    first, second = pair(golden)
    both = Cameras(
        torch.stack([first.world_from_camera, second.world_from_camera], 1), torch.stack([first.K, second.K], 1), (9, 9)
    )
    exact = triangulate(both, torch.stack([golden["x1"], golden["x2"]], 1))
    assert (exact - golden["points_world"]).abs().max() < 1e-8
    noisy = triangulate(both, torch.stack([golden["x1_noisy"], golden["x2_noisy"]], 1))
    reference = golden["triangulated_noisy"]
    error = [(points - golden["points_world"]).norm(dim=-1).median() for points in (noisy, reference)]
    assert error[0] <= 1.05 * error[1], "no further from the truth than the reference library"


def ring(count: int) -> Cameras:
    angle = torch.linspace(0, 2, count, dtype=torch.float64)
    centers = torch.stack([3 * angle.cos(), 3 * angle.sin(), 1 + angle], -1)
    return Cameras.from_fov(look_at(centers, torch.zeros(count, 3, dtype=torch.float64)), 50.0, (60, 80))


def test_a_point_seen_by_two_cameras_lies_on_both_lines_and_a_moved_one_as_far_off_as_it_was_moved() -> None:
    cameras, points = ring(2), torch.rand(20, 3, dtype=torch.float64) - 0.5
    uv, _ = project(cameras, points.expand(2, -1, -1))
    F = fundamental(cameras[0], cameras[1])
    assert symmetric_epipolar_distance(F, uv[0], uv[1]).max() < 1e-10
    lines = epipolar_lines(F, uv[0])
    off = uv[1] + 2 * lines[:, :2]  # two pixels along the normal
    moved = (lines[:, :2] * off).sum(-1) + lines[:, 2]
    assert torch.allclose(moved, torch.full_like(moved, 2.0))
    assert (sampson_distance(F, uv[0], off) < 2).all() and (symmetric_epipolar_distance(F, uv[0], off) > 2).all()


def test_masks_are_the_pixels_within_a_distance_of_the_line() -> None:
    cameras = ring(4).resized((6, 8))
    source, target = cameras[:2].reshape(1, 2), cameras[2:].reshape(1, 2)
    mask = epipolar_mask(source, target, 1.2)
    assert mask.shape == (1, 2, 6, 8, 6, 8) and 0.1 < mask.double().mean() < 0.6
    uv = pixel_centers((6, 8), dtype=torch.float64).flatten(0, 1)
    for i in range(2):
        lines = epipolar_lines(fundamental(target[0, i], source[0, i]), uv)
        distance = (lines[:, None, :2] * uv).sum(-1) + lines[:, None, 2]
        assert torch.equal(mask[0, i].flatten(2, 3).flatten(0, 1), distance.abs() <= 1.2)
    patches = epipolar_mask(source.resized((3, 4)), target.resized((3, 4)), 1.0)
    assert patches.shape == (1, 2, 3, 4, 3, 4)


@pytest.mark.parametrize("depths", [(1.0, 2.0), (2.5, torch.inf), (0.3, 4.0), (1.7, 1.7)])
def test_masks_between_depths_are_the_pixels_near_where_the_ray_is_seen(depths) -> None:
    """Against many points of each ray; the target stands beside the source, or before it and turned away."""
    source = ring(2)[0].resized((6, 8))
    beside, across = ring(2)[1], torch.eye(4, dtype=torch.float64)
    across[:3, 3] = torch.tensor([0.3, -0.4, 0.5])
    for pose in (beside.world_from_camera, across, source.world_from_camera):
        target = Cameras(pose, beside.K, beside.hw).resized((6, 8))
        mask = epipolar_mask(source, target, 1.0, depths)
        inverse = torch.linspace(1 / depths[1], 1 / depths[0], 400, dtype=torch.float64).clamp_min(1e-9)
        reach = unproject(target, torch.ones(1, 6, 8, dtype=torch.float64)) - target.centers
        points = target.centers + reach / inverse[:, None, None, None]
        uv, z = project(source, points.reshape(-1, 3))
        apart = torch.cdist(uv, pixel_centers((6, 8), dtype=torch.float64).flatten(0, 1))
        apart = torch.where(z[:, None] > 0, apart, torch.inf).view(400, 6, 8, 6, 8).amin(0)
        clear = (apart - 1).abs() > 0.05
        assert torch.equal(mask[clear], (apart <= 1)[clear])
        assert mask.double().mean() < 0.6


def test_masks_without_a_baseline_and_behind_the_camera(refused) -> None:
    camera = ring(1)[0].resized((6, 8))
    assert bool(epipolar_mask(camera, camera, 0.1).all()), "no line is fixed"
    own = epipolar_mask(camera, camera, 0.1, (1.0, 9.0)).flatten(2, 3).flatten(0, 1)
    assert torch.equal(own, torch.eye(48).bool()), "but every depth falls on the same pixel"
    away = Cameras(look_at(camera.centers, 2 * camera.centers), camera.K, camera.hw)
    assert not epipolar_mask(camera, away, 9.0, (1.0, 9.0)).any()
    for depths in ((0.0, 1.0), (2.0, 1.0)):
        with refused("nearest <= furthest"):
            epipolar_mask(camera, camera, 1.0, depths)


def test_many_views_triangulate_better_than_two_and_one_is_refused(refused) -> None:
    cameras, points = ring(6), torch.rand(40, 3, dtype=torch.float64) - 0.5
    uv, _ = project(cameras, points.expand(6, -1, -1))
    uv = uv + 0.5 * torch.randn_like(uv)
    few, many = (float((triangulate(cameras[:m], uv[:m]) - points).norm(dim=-1).mean()) for m in (2, 6))
    assert many < 0.6 * few
    with refused("1 camera"):
        triangulate(cameras[:1], uv[:1])


def test_without_a_baseline_no_line_is_determined_and_results_are_finite() -> None:
    cameras = ring(2)[torch.tensor([0, 0])]
    F, uv = fundamental(cameras[0], cameras[1]), torch.rand(5, 2, dtype=torch.float64) * 40
    assert F.abs().max() < 1e-15
    assert bool(epipolar_lines(torch.zeros_like(F), uv).eq(0).all())
    assert bool(symmetric_epipolar_distance(torch.zeros_like(F), uv, uv).eq(0).all())


def test_gradients_of_lines_distances_and_points_are_right() -> None:
    cameras = ring(2)
    uv, _ = project(cameras, (torch.rand(3, 3, dtype=torch.float64) - 0.5).expand(2, -1, -1))
    poses = cameras.world_from_camera.clone().requires_grad_()

    def measured(poses: torch.Tensor) -> tuple[torch.Tensor, ...]:
        both = Cameras(poses, cameras.K, cameras.hw)
        F = fundamental(both[0], both[1])
        off = uv[1] + 1
        return sampson_distance(F, uv[0], off), symmetric_epipolar_distance(F, uv[0], off), triangulate(both, uv)

    assert torch.autograd.gradcheck(measured, (poses,))


def test_a_camera_of_more_pixels_counts_no_more_in_triangulation() -> None:
    """Images resized by any factor show the same rays."""
    eyes = torch.randn(3, 3, dtype=torch.float64) + torch.tensor([0.0, -5, 0])
    cameras = Cameras.from_fov(look_at(eyes, torch.zeros(3, dtype=torch.float64)), 50.0, (48, 64))
    uv = project(cameras, torch.rand(9, 3, dtype=torch.float64).expand(3, 9, 3))[0] + torch.randn(3, 9, 2)
    expected = triangulate(cameras, uv)
    larger = Cameras(cameras.world_from_camera, cameras.K.clone(), (48, 64))
    larger.K[1, :2] *= 10
    scaled = torch.stack([uv[0], 10 * uv[1], uv[2]])
    assert torch.allclose(triangulate(larger, scaled), expected, atol=1e-3)
