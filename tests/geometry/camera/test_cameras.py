"""Cameras, projection and rays."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import camera_directions, fov_deg, pixel_centers, plucker, ray_map
from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid, rigid, rotation_about

BATCHES = st.sampled_from([(), (1,), (3,), (2, 3), (0,), (2, 1, 2)])
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
SEEDS = st.integers(0, 2**31)


def some_cameras(batch: tuple[int, ...], hw: tuple[int, int], seed: int) -> Cameras:
    """Cameras of any pose, with skew, unequal focal lengths and principal points off the center."""
    torch.manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn((*batch, *shape), dtype=torch.float64)

    K = torch.zeros(*batch, 3, 3, dtype=torch.float64)
    K[..., 0, 0], K[..., 1, 1] = (max(hw) * (0.5 + torch.rand(batch, dtype=torch.float64)) for _ in "xy")
    K[..., 0, 1], K[..., 0, 2], K[..., 1, 2] = normal(), hw[1] / 2 + normal(), hw[0] / 2 + normal()
    K[..., 2, 2] = 1
    return Cameras(rigid(rotation_about(normal(3), normal()), 5 * normal(3)), K, hw)


def cameras_from_golden(golden: dict[str, torch.Tensor], index: int) -> Cameras:
    height, width = golden["image_hw"][index].tolist()
    return Cameras(invert_rigid(golden["w2c"][index]), golden["K"][index], (height, width))


@settings(max_examples=25)
@given(BATCHES, SIZES, SEEDS)
def test_projecting_an_unprojected_pixel_gives_its_center_and_depth(batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    depth = 0.1 + 10 * torch.rand(*batch, 1, *hw, dtype=torch.float64)
    uv, z = project(cameras, unproject(cameras, depth).flatten(-3, -2))
    assert torch.allclose(uv, pixel_centers(hw, dtype=torch.float64).flatten(0, 1).expand_as(uv), atol=1e-8)
    assert torch.allclose(z, depth.flatten(-3), atol=1e-10)


@settings(max_examples=25)
@given(BATCHES, SIZES, SEEDS, st.integers(1, 5), st.integers(1, 5))
def test_a_point_lands_on_the_scaled_pixel_of_a_resized_camera(batch, hw, seed, down, right) -> None:
    cameras = some_cameras(batch, hw, seed)
    points = unproject(cameras, torch.ones(*batch, 1, *hw, dtype=torch.float64)).flatten(-3, -2)
    uv, z = project(cameras, points)
    scaled, same_z = project(cameras.resized((hw[0] * down, hw[1] * right)), points)
    assert torch.allclose(scaled, uv * torch.tensor([right, down]), atol=1e-8)
    assert torch.equal(z, same_z)


@settings(max_examples=25)
@given(BATCHES, SIZES, SEEDS)
def test_a_point_lands_on_the_shifted_pixel_of_a_cropped_camera(batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    points = unproject(cameras, torch.ones(*batch, 1, *hw, dtype=torch.float64)).flatten(-3, -2)
    shifted, _ = project(cameras.cropped(2, -3, (4, 5)), points)
    assert torch.allclose(shifted, project(cameras, points)[0] - torch.tensor([-3, 2]), atol=1e-8)


@settings(max_examples=25)
@given(BATCHES, SIZES, SEEDS)
def test_plucker_moment_is_normal_to_the_ray_and_the_same_anywhere_along_it(batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    direction, moment = plucker(cameras).movedim(-3, -1).split(3, -1)
    assert (direction.norm(dim=-1) - 1).abs().max() < 1e-12 if direction.numel() else True
    assert torch.allclose((direction * moment).sum(-1), torch.zeros_like(moment[..., 0]), atol=1e-10)
    origin, _ = ray_map(cameras)
    slid = origin + torch.randn_like(origin[..., :1]) * direction
    assert torch.allclose(torch.linalg.cross(slid, direction), moment, atol=1e-10)


@settings(max_examples=25)
@given(BATCHES, SIZES, SEEDS)
def test_moving_the_world_moves_no_pixel_and_scaling_it_scales_depth(batch, hw, seed) -> None:
    cameras = some_cameras(batch, hw, seed)
    points = unproject(cameras, torch.ones(*batch, 1, *hw, dtype=torch.float64)).flatten(-3, -2)
    uv, z = project(cameras, points)
    motion = rigid(
        rotation_about(torch.ones(3, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)),
        torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64),
    )
    moved_uv, _ = project(cameras.moved(motion), points @ motion[:3, :3].T + motion[:3, 3])
    assert torch.allclose(moved_uv, uv, atol=1e-8)
    scaled_uv, scaled_z = project(cameras.scaled(2.5), 2.5 * points)
    assert torch.allclose(scaled_uv, uv, atol=1e-8) and torch.allclose(scaled_z, 2.5 * z)


def test_pixels_agree_with_opencv_and_kornia(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    for i in range(len(golden["K"])):
        cameras = cameras_from_golden(golden, i)
        uv, z = project(cameras, golden["points_world"][i])
        assert (uv - golden["opencv_pixels"][i]).abs().max() < 1e-9
        assert (uv - golden["kornia_pixels"][i]).abs().max() < 1e-9
        assert (z - golden["points_cam"][i, :, 2]).abs().max() < 1e-11


def test_points_of_a_depth_map_agree_with_kornia_whose_pixel_centers_are_whole_numbers(shared) -> None:
    golden = load_file(shared / "golden/cameras.safetensors")
    K = golden["kornia_dense_K"].clone()
    K[..., :2, 2] += 0.5
    cameras = Cameras(torch.eye(4, dtype=torch.float64)[None], K, (6, 9))
    points = unproject(cameras, golden["kornia_dense_depth"][:, None])
    assert (points - golden["kornia_dense_points_z"]).abs().max() < 1e-12


def test_moving_pixels_by_depth_agrees_with_kornia(shared) -> None:
    golden = load_file(shared / "golden/depth_warp.safetensors")
    K = golden["K"].clone()
    K[:2, 2] += 0.5
    for i, motion in enumerate(golden["src_from_dst"]):
        here = Cameras(torch.eye(4, dtype=torch.float64), K, (20, 28))
        there = Cameras(invert_rigid(motion), K, (20, 28))
        uv, z = project(there, unproject(here, golden["depth_z"][None]).flatten(0, 1))
        assert (uv - 0.5 - golden["source_pixels"][i].flatten(0, 1)).abs().max() < 1e-9
        assert (z - golden["source_depth"][i].flatten()).abs().max() < 1e-11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("depth_dtype", [torch.float32, torch.float64])
def test_points_have_the_cameras_float_type_whatever_the_depths(dtype, depth_dtype) -> None:
    cameras = some_cameras((2,), (4, 5), 0)
    points = unproject(cameras.to(dtype), torch.full((2, 1, 4, 5), 2.0, dtype=depth_dtype))
    expected = unproject(cameras, torch.full((2, 1, 4, 5), 2.0, dtype=torch.float64))
    assert points.dtype == dtype and torch.allclose(points.double(), expected, atol=1e-4)


def test_plucker_agrees_with_cameractrl_in_our_order(shared) -> None:
    golden = load_file(shared / "golden/plucker.safetensors")
    cameras = Cameras(invert_rigid(golden["w2c"]), golden["K_pixels"], (16, 24))
    moment, direction = golden["cameractrl_plucker_absolute_f64"].movedim(-1, -3).split(3, -3)
    assert (plucker(cameras) - torch.cat([direction, moment], -3)).abs().max() < 1e-9


def test_field_of_view_spans_the_shorter_side() -> None:
    for hw in ((20, 30), (30, 20)):
        cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64), 60.0, hw)
        ends = torch.tensor([[[0.0, 15.0], [20.0, 15.0]], [[15.0, 0.0], [15.0, 20.0]]], dtype=torch.float64)
        first, last = camera_directions(cameras, ends[[int(hw[0] < hw[1])]])[0]
        cosine = (first * last).sum() / first.norm() / last.norm()
        assert math.isclose(math.degrees(math.acos(float(cosine))), 60, abs_tol=1e-9)


def test_indexing_and_joining_keep_views_and_times() -> None:
    pose, K = torch.eye(4).repeat(3, 1, 1), torch.eye(3).repeat(3, 1, 1)
    cameras = Cameras(pose, K, (4, 5), torch.tensor([0, 1, 2]), torch.tensor([0.0, 0.5, 1.0]))
    joined = Cameras.cat([cameras[[2]], cameras[:2]])
    assert joined.view.tolist() == [2, 0, 1] and joined.time_s.tolist() == [1.0, 0.0, 0.5]
    assert len(joined) == 3 and joined.shape == (3,) and cameras.to(torch.float64).K.dtype == torch.float64


def test_bad_cameras_are_refused(refused, unchecked) -> None:
    pose, K = torch.eye(4)[None], torch.eye(3)[None]
    with refused("(2, 3, 3)"):
        Cameras(pose, K.repeat(2, 1, 1), (4, 4))
    with refused("(0, 4)"):
        Cameras(pose, K, (0, 4))
    for fov in (0.0, 180.0, math.nan):
        with refused("field of view"):
            Cameras.from_fov(pose, fov, (4, 4))
    with pytest.raises(InputError, match="one size"):
        Cameras.cat([Cameras(pose, K, (4, 4)), Cameras(pose, K, (4, 5))])


def test_cameras_are_a_sequence_that_prints_short() -> None:
    cameras = Cameras.from_fov(torch.eye(4).expand(3, 4, 4), torch.tensor([40.0, 50.0, 60.0]), (6, 8))
    assert [torch.equal(a.K, K) for a, K in zip(cameras, cameras.K, strict=True)] == [True] * 3
    assert len(cameras) == 3 and torch.equal(cameras[-1].K, cameras.K[-1])
    assert repr(cameras) == "Cameras([3] of 6x8 px (height x width), field of view 40..60 degrees, float32)"
    assert cameras == cameras.reshape(3) and cameras != cameras[:2]
    for single in (len, iter):
        with pytest.raises(TypeError, match="single camera"):
            single(cameras[0])
    with pytest.raises(IndexError):
        _ = cameras[3]


def test_the_field_of_view_is_the_sum_of_the_angles_to_both_sides_of_the_principal_point() -> None:
    K = torch.tensor([[10.0, 0, 2], [0, 20, 15], [0, 0, 1]])
    across, down = fov_deg(Cameras(torch.eye(4), K, (16, 12))).tolist()
    assert across == pytest.approx(math.degrees(math.atan(2 / 10) + math.atan(10 / 10)), abs=1e-4)
    assert down == pytest.approx(math.degrees(math.atan(15 / 20) + math.atan(1 / 20)), abs=1e-4)
