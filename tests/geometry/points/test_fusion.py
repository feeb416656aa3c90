"""Posed depth maps fused to one cloud of the points that several agree on."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rays import ray_map
from geometry.points.fusion import fuse_points
from geometry.points.neighbors import cloud_distance, estimate_normals
from geometry.trajectory.paths import orbit
from tests.geometry.spheres import SphereScene, see_sphere, sphere_scene


@pytest.fixture(scope="module")
def scene() -> SphereScene:
    return sphere_scene((30, 40), frames=5)


def test_views_from_one_position_give_one_point_per_pixel_at_the_mean_of_those_that_agree() -> None:
    cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64).repeat(4, 1, 1), 60.0, (5, 6))
    scale = torch.tensor([1.0, 1.002, 1.004, 1.5], dtype=torch.float64).view(4, 1, 1, 1)
    depth, rgb = 2 * scale.expand(4, 1, 5, 6), torch.rand(4, 3, 5, 6)
    depth = depth.clone()
    depth[0, 0, 0, 0], depth[1, 0, 0, 0], depth[:, 0, 0, 1] = 0, math.inf, 0
    cloud, frame = fuse_points(rgb, depth, cameras)
    assert len(cloud) == 28 and bool((frame == 0).all())  # the first pixel is left to two views, the second to none
    assert torch.allclose(cloud.points[:, 2], torch.tensor(2.004, dtype=torch.float64))
    assert torch.allclose(cloud.colors, rgb[:3].mean(0).flatten(1).T[2:], atol=1e-6)
    for confirmations, count in ((1, 28), (0, 28 + 1 + 29), (3, 0)):
        assert len(fuse_points(rgb, depth, cameras, confirmations)[0]) == count


def test_points_of_a_sphere_lie_on_it_cover_it_and_are_oriented_towards_the_cameras(scene) -> None:
    cloud, frame = fuse_points(scene.rgb, scene.depth, scene.cameras)
    radius = (cloud.points - scene.center).norm(dim=-1)
    assert (radius - scene.radius).abs().max() < 0.01
    surface = scene.depth.isfinite()
    assert 0.1 * surface.sum() < len(cloud) < 0.6 * surface.sum(), "most are merged"
    everywhere = scene.center + scene.radius * torch.nn.functional.normalize(torch.randn(2000, 3), dim=-1)
    assert cloud_distance(cloud.points, everywhere).from_reference.max() < 0.15
    normals = estimate_normals(cloud, scene.cameras.centers[frame]).normals
    assert normals is not None
    assert ((cloud.points - scene.center) / radius[:, None] * normals).sum(-1).min() > 0.8


def test_a_view_with_wrong_depth_adds_no_point_and_moves_none_far(scene) -> None:
    depth = scene.depth.clone()
    depth[3] *= 0.8
    cloud, frame = fuse_points(scene.rgb, depth, scene.cameras)
    assert not bool((frame == 3).any())
    assert ((cloud.points - scene.center).norm(dim=-1) - scene.radius).abs().max() < 0.01
    alone, _ = fuse_points(scene.rgb, depth, scene.cameras, confirmations=0)
    assert ((alone.points - scene.center).norm(dim=-1) - scene.radius).abs().max() > 0.3, "unconfirmed it would"


def test_fisheyes_are_fused_by_their_depth_along_rays() -> None:
    poses = orbit(torch.zeros(3), 2.0, 20.0, 12)
    lens = Lens.of(LensKind.FISHEYE, torch.full((12, 1), 0.05))
    cameras = Cameras.from_fov(poses, 100.0, (40, 40), lens)
    scene = see_sphere(cameras, torch.zeros(3), 0.8)
    along = (scene.depth[:, 0] / (ray_map(cameras)[1] * cameras.forward[:, None, None]).sum(-1))[:, None]
    cloud, _ = fuse_points(scene.rgb, along, cameras, max_depth_ratio=0.02)
    assert len(cloud) > 300 and (cloud.points.norm(dim=-1) - 0.8).abs().max() < 0.02


def test_invalid_arguments_are_refused(refused, unchecked, scene) -> None:
    with refused("point fusion: rgb"):
        fuse_points(scene.rgb, scene.depth[:2], scene.cameras)
    with refused("2 frames", "2 confirmations"):
        fuse_points(scene.rgb[:2], scene.depth[:2], scene.cameras[:2])


def test_how_far_depths_may_differ_grows_with_depth() -> None:
    """Within 1% by default: 8 cm at 10 m are the same surface, 1 mm at 5 cm is not."""
    cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64).repeat(2, 1, 1), 60.0, (5, 6))
    for depth_m, off_m, count in ((10.0, 0.08, 30), (10.0, 0.12, 0), (0.05, 0.0004, 30), (0.05, 0.001, 0)):
        depth = torch.tensor([depth_m, depth_m + off_m]).double().view(2, 1, 1, 1).expand(2, 1, 5, 6)
        cloud, _ = fuse_points(torch.rand(2, 3, 5, 6), depth, cameras, 1)
        assert len(cloud) == count, (depth_m, off_m)
