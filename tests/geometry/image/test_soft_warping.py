"""Images moved between cameras softly: by hand, against the z-buffer, and their gradients."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.image.soft_warping import soft_forward_warp
from geometry.image.warping import forward_warp
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import rigid
from tests.geometry.image.test_flow import plane_depth
from tests.geometry.image.test_warping import facing, neighbors
from tests.geometry.spheres import sphere_scene


def test_warping_an_image_into_its_own_camera_changes_nothing() -> None:
    scene = sphere_scene(frames=1)
    depth, camera = scene.depth[1:2].clone(), scene.cameras[1:2]
    depth[..., 10:20, 10:60] = 0
    rgb, z, coverage = soft_forward_warp(scene.rgb[1:2], depth, camera, camera)
    known = depth[0] > 0
    # Positions are off by rounding, so that a ten-thousandth of each pixel falls beside it, the near upon the far.
    edge = (z / depth[0] - 1).abs() > 1e-2
    assert edge[known].double().mean() < 0.06
    exact = known & ~edge & coverage.ge(0.5)
    assert (rgb - scene.rgb[1]).abs()[exact.expand(3, -1, -1)].max() < 0.01
    assert ((coverage - 1).abs() < 1e-2)[known].all() and coverage[~known].max() < 1e-2


def test_half_a_pixel_is_shared_by_two() -> None:
    rgb, depth = torch.rand(1, 3, 8, 10), torch.full((1, 1, 8, 10), 2.0)
    moved, z, coverage = soft_forward_warp(rgb, depth, facing(), facing(x=0.25)[0])  # 4 * 0.25 / 2 pixels to the left
    assert torch.allclose(moved[..., :9], (rgb[0, ..., 1:] + rgb[0, ..., :-1]) / 2, atol=1e-5)
    assert torch.allclose(coverage[..., :9], torch.ones(1, 8, 9)) and torch.allclose(
        coverage[..., 9], torch.tensor(0.5)
    )
    assert torch.allclose(z, torch.full((1, 8, 10), 2.0))


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_the_nearer_hides_the_further_by_the_power_of_their_ratio_in_any_unit(unit) -> None:
    rgb = torch.rand(2, 3, 8, 10)
    depth = unit * torch.tensor([2.0, 2.2]).view(2, 1, 1, 1).expand(2, 1, 8, 10)
    both = Cameras.cat([facing(), facing()])
    moved, z, coverage = soft_forward_warp(rgb, depth, both, facing(), sharpness=20.0)
    weight = 1 / (1 + (2 / 2.2) ** 20)
    assert torch.allclose(moved, weight * rgb[0] + (1 - weight) * rgb[1], atol=1e-4)
    mean = unit / (weight / 2 + (1 - weight) / 2.2)
    assert torch.allclose(z, torch.tensor(mean), rtol=1e-4) and torch.allclose(coverage, torch.tensor(2.0))
    strict = soft_forward_warp(rgb, depth, both, facing(), sharpness=1e4)[0]
    assert torch.allclose(strict, rgb[0], atol=1e-5), "no overflow, whatever the exponent"


def test_planes_keep_their_exact_depth_where_they_are_covered() -> None:
    cameras = Cameras.cat([facing(hw=(24, 32)), facing(x=0.3, z=0.2, hw=(24, 32))]).to(torch.float64)
    depth = plane_depth(cameras, torch.tensor([0.1, 0.05, 1.0]).double(), torch.tensor([4.0, 4.0]).double())
    rgb = torch.rand(1, 3, 24, 32, dtype=torch.float64)
    _, z, coverage = soft_forward_warp(rgb, depth[:1], cameras[:1], cameras[1], sharpness=0.0)
    inner = coverage > 0.5
    assert inner.double().mean() > 0.8 and (z / depth[1] - 1)[inner].abs().max() < 0.01
    nearest = forward_warp(rgb, depth[:1], cameras[:1], cameras[1])[1]
    errors = [((found - depth[1]).abs()[inner & (nearest > 0)]).mean() for found in (z, nearest)]
    assert errors[0] < 0.3 * errors[1], "and better than by nearest pixels"


def test_sky_turns_behind_everything_and_what_is_unknown_or_behind_stays_away() -> None:
    rgb, sky = torch.rand(2, 3, 8, 10), torch.full((2, 1, 8, 10), math.inf)
    both = Cameras.cat([facing(), facing()])
    moved, z, _ = soft_forward_warp(rgb[:1], sky[:1], facing(), facing(x=1e6, z=-1e6))
    assert torch.allclose(moved, rgb[0], atol=1e-5) and bool(z.isinf().all())
    sky[1] = 5.0
    moved, z, _ = soft_forward_warp(rgb, sky, both, facing())
    assert torch.allclose(moved, rgb[1], atol=1e-6) and torch.allclose(z, torch.tensor(5.0))
    for depth, target in ((torch.zeros(1, 1, 8, 10), facing()), (torch.ones(1, 1, 8, 10), facing(z=3.0))):
        for image in soft_forward_warp(rgb[:1], depth, facing(), target):
            assert not image.any()


def test_views_of_a_sphere_predict_another_view_as_well_as_the_z_buffer() -> None:
    scene = sphere_scene()
    near = neighbors(scene, 12)
    inputs = scene.rgb[near], scene.depth[near], scene.cameras[near], scene.cameras[12]
    soft, z, coverage = soft_forward_warp(*inputs)
    hard, _, visible = forward_warp(*inputs)
    hit = (visible & scene.depth[12].isfinite() & z.isfinite() & (coverage > 0.5))[0]
    errors = [(found - scene.rgb[12]).abs()[:, hit].mean() for found in (soft, hard)]
    assert errors[0] < 0.01 and errors[0] < 1.1 * errors[1]


def test_gradients_in_images_depth_and_cameras_are_exact() -> None:
    torch.manual_seed(3)
    depth = (1.5 + torch.rand(2, 1, 3, 4, dtype=torch.float64)).requires_grad_()
    rgb = torch.rand(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    turns = torch.tensor([[1.0, 0.02, -0.03, 0.01], [1.0, -0.01, 0.02, 0.04], [1.0, 0.03, 0.01, -0.02]]).double()
    places = (0.1 * torch.randn(3, 3, dtype=torch.float64)).requires_grad_()
    K = torch.tensor([[4.0, 0, 2.1], [0, 4.2, 1.4], [0, 0, 1]]).double().repeat(3, 1, 1).requires_grad_()
    unknown, sky = torch.zeros(2, 1, 3, 4, dtype=torch.bool), torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    unknown[0, 0, 1, 1], sky[1, 0, 0, 2] = True, True

    def warped(rgb, depth, turns, places, K) -> tuple[torch.Tensor, ...]:
        cameras = Cameras(rigid(matrix_from_quaternion_wxyz(turns), places), K, (3, 4))
        depth = depth.masked_fill(unknown, 0.0).masked_fill(sky, math.inf)
        colors, z, coverage = soft_forward_warp(rgb, depth, cameras[:2], cameras[2], 5.0)
        return colors, torch.where(z.isfinite() & (z > 0), z, 0.0), coverage

    assert torch.autograd.gradcheck(warped, (rgb, depth, turns.requires_grad_(), places, K), fast_mode=True)


def test_shapes_that_do_not_fit_are_refused(refused, unchecked) -> None:
    rgb, depth = torch.rand(2, 3, 8, 10), torch.ones(2, 1, 8, 10)
    two = Cameras.cat([facing(), facing()])
    with refused("soft warp: rgb"):
        soft_forward_warp(rgb, depth[:1], two, facing())
    with refused("single camera"):
        soft_forward_warp(rgb, depth, two, two)
