"""Surfaces from posed depth."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.mesh.meshes import Mesh, components, vertex_normals
from geometry.mesh.tsdf import fuse_tsdf
from geometry.trajectory.paths import orbit
from tests.geometry.spheres import SphereScene, see_sphere, sphere_scene


def fused(scene: SphereScene, voxel: float = 0.1, **more) -> Mesh:
    return fuse_tsdf(scene.rgb, scene.depth, scene.cameras, voxel, **more)


def distance_to_sphere(mesh: Mesh, scene: SphereScene) -> torch.Tensor:
    return (mesh.vertices - scene.center).norm(dim=-1) - scene.radius


@pytest.mark.parametrize("voxel", [0.1, 0.04])
def test_a_sphere_comes_back_within_a_quarter_of_a_voxel_closed_and_facing_outward(voxel) -> None:
    scene = sphere_scene()
    mesh = fused(scene, voxel)
    error = distance_to_sphere(mesh, scene)
    assert error.abs().mean() < voxel / 4 and error.abs().max() < voxel
    assert error.mean().abs() < voxel / 4  # a half-voxel slip of the grid would show on one side or the other
    assert (mesh.vertices.mean(0) - scene.center).abs().max() < voxel / 10
    assert len(mesh.vertices) - len(mesh.faces) // 2 == 2  # Euler's formula: one closed surface
    assert len(components(mesh).unique()) == 1
    outward = (mesh.vertices - scene.center) / scene.radius
    assert (vertex_normals(mesh) * outward).sum(-1).min() > 0.7


def test_colors_are_those_of_the_surface() -> None:
    scene = sphere_scene()
    mesh = fused(scene, 0.05)
    normal = torch.nn.functional.normalize(mesh.vertices - scene.center, dim=-1)
    assert mesh.colors is not None
    assert (mesh.colors - (0.5 + normal / 2)).abs().max() < 0.06


def test_no_surface_is_made_at_the_limit_of_what_was_seen() -> None:
    scene = sphere_scene(frames=1)
    one = SphereScene(scene.rgb[:1], scene.depth[:1], scene.cameras[:1], scene.center, scene.radius)
    mesh = fused(one, 0.05)
    assert distance_to_sphere(mesh, scene).abs().max() < 0.06
    facing = (mesh.vertices - scene.center) @ (scene.cameras.centers[0] - scene.center)
    assert facing.min() > -0.1  # the side that faces away does not exist


def test_seeing_the_sky_carves_away_what_one_image_alone_invented() -> None:
    scene = sphere_scene()
    depth = scene.depth.clone()
    depth[3, 0, 5:15, 5:15] = 2.0
    carved = fuse_tsdf(scene.rgb, depth, scene.cameras, 0.1)
    assert distance_to_sphere(carved, scene).max() < 0.1
    blind = torch.where(depth.isinf(), torch.zeros_like(depth), depth)
    assert distance_to_sphere(fuse_tsdf(scene.rgb, blind, scene.cameras, 0.1), scene).max() > 0.5


def test_the_same_input_gives_the_same_mesh() -> None:
    first, second = fused(sphere_scene(frames=4)), fused(sphere_scene(frames=4))
    assert first.colors is not None and second.colors is not None
    assert torch.equal(first.vertices, second.vertices) and torch.equal(first.faces, second.faces)
    assert torch.equal(first.colors, second.colors)


def test_a_scene_far_from_the_origin_is_as_exact() -> None:
    far = torch.tensor([4e6, -5e5, 300.0], dtype=torch.float64)
    cameras = Cameras.from_fov(torch.cat([orbit(far, 3.0, e, 6) for e in (-40.0, 40.0)]), 45.0, (72, 96))
    scene = see_sphere(cameras, far, 0.8)
    error = distance_to_sphere(fused(scene, 0.1), scene)
    assert error.abs().mean() < 0.025 and error.abs().max() < 0.1


def test_bounds_limit_the_surface() -> None:
    scene = sphere_scene(frames=4)
    bounds = torch.stack([scene.center - torch.tensor([1.0, 1.0, 0.0]), scene.center + 1.0])
    mesh = fused(scene, bounds=bounds)
    assert bool((mesh.vertices[:, 2] > scene.center[2]).all())
    assert distance_to_sphere(mesh, scene).abs().mean() < 0.025
    whole = fused(scene)
    upper = whole.vertices[whole.vertices[:, 2] > scene.center[2] + 0.1]
    nearest = torch.cdist(upper, mesh.vertices).amin(1)
    assert nearest.max() < 0.1


def test_impossible_fusions_are_refused(refused, unchecked) -> None:
    scene = sphere_scene(frames=1)
    for voxel, truncation in ((0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (0.1, 0.0)):
        with refused("more than 0"):
            fused(scene, voxel, truncation_m=truncation)
    with refused("at most 1000"):
        fused(scene, max_voxels=1000)
    with refused("lowest corner first"):
        fused(scene, bounds=torch.ones(2, 3))
    with refused("no surface"):
        fused(scene, bounds=torch.tensor([[50.0, 50, 50], [51, 51, 51]]))
    with refused("fusion: rgb"):
        fuse_tsdf(scene.rgb[:1], scene.depth, scene.cameras, 0.1)
    for nothing in (0.0, math.inf):
        with refused("no pixel"):
            fuse_tsdf(scene.rgb, torch.full_like(scene.depth, nothing), scene.cameras, 0.1)


def test_the_surface_is_where_the_mean_over_the_cameras_that_see_a_voxel_is_zero() -> None:
    """Planes 2.02 m and 1.93 m ahead, voxels with centers at 1.95 and 2.05, truncation 0.06. The near plane hides the
    far voxel, and the near voxel is free space to the other camera: means (1 - 1/3) / 2 and -1/2, zero 0.04 beyond
    1.95. Counting free space as unseen, or dividing by another function of the weight, moves it by 8 mm or more."""
    cameras = Cameras.from_fov(torch.eye(4).repeat(2, 1, 1), 10.0, (8, 8))
    depth = torch.tensor([2.02, 1.93])[:, None, None, None].expand(2, 1, 8, 8)
    bounds = torch.tensor([[-0.1, -0.1, 1.8], [0.1, 0.1, 2.2]])
    mesh = fuse_tsdf(torch.full((2, 3, 8, 8), 0.5), depth, cameras, 0.1, truncation_m=0.06, bounds=bounds)
    assert len(mesh.vertices) >= 4
    assert torch.allclose(mesh.vertices[:, 2], torch.tensor(1.99), atol=1e-3)


def test_voxels_in_free_space_darken_no_color() -> None:
    """With a truncation of less than a voxel, of the two around the surface only the one behind it has a color."""
    cameras = Cameras.from_fov(torch.eye(4)[None], 10.0, (8, 8))
    bounds = torch.tensor([[-0.1, -0.1, 1.8], [0.1, 0.1, 2.2]])
    color = torch.tensor([0.9, 0.6, 0.3])
    rgb, depth = color[None, :, None, None].expand(1, 3, 8, 8), torch.full((1, 1, 8, 8), 2.02)
    mesh = fuse_tsdf(rgb, depth, cameras, 0.1, truncation_m=0.06, bounds=bounds)
    assert mesh.colors is not None and torch.allclose(mesh.colors, color.expand(len(mesh.colors), 3), atol=1e-5)
