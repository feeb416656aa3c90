"""Textures: unwrapped, painted from images, rendered."""

import sys
from dataclasses import replace

import pytest
import torch
import trimesh

from geometry.camera.cameras import Cameras
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.mesh.rasterizing import rasterize, render_mesh
from geometry.mesh.texturing import bake, render_textured, unwrap
from geometry.points.pointclouds import GRAY
from geometry.rotation.transforms import look_at
from geometry.trajectory.paths import orbit
from tests.geometry.spheres import see_sphere


def wall(texture: torch.Tensor, side: float = 2.0) -> TexturedMesh:
    """A square at z = 2 before a camera at the origin, the texture upright as that camera sees it."""
    h = side / 2
    corners = torch.tensor([[-h, -h, 2.0], [h, -h, 2.0], [h, h, 2.0], [-h, h, 2.0]])
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return TexturedMesh(Mesh(corners, torch.tensor([[0, 2, 1], [0, 3, 2]])), uv, texture)


def ahead(hw: tuple[int, int]) -> Cameras:
    """A camera at the origin whose image the wall fills exactly."""
    return Cameras.from_fov(torch.eye(4)[None], 53.13010235415598, hw)


def test_a_texture_that_fills_the_image_is_the_image_pixel_by_pixel() -> None:
    texture = torch.rand(3, 12, 12)
    rgb, depth = render_textured(wall(texture), ahead((12, 12)))
    assert (rgb[0] - texture).abs().max() < 3e-5 and torch.allclose(depth, torch.tensor(2.0))


def test_texels_are_mixed_in_linear_light_between_their_centers() -> None:
    texture = torch.rand(3, 6, 6)
    rgb, _ = render_textured(wall(texture), ahead((12, 12)))
    light = linear_from_srgb(texture)
    expected = torch.nn.functional.interpolate(light[None], scale_factor=2, mode="bilinear", align_corners=False)
    assert (linear_from_srgb(rgb) - expected).abs().max() < 1e-5
    back = torch.tensor([0.1, 0.2, 0.3])
    rgb, depth = render_textured(wall(texture, 1.0), ahead((12, 12)).reshape(1, 1), back)
    assert rgb.shape == (1, 1, 3, 12, 12) and torch.allclose(rgb[0, 0, :, 0, 0], back) and depth[0, 0, 0, 0, 0].isinf()
    assert bool((rgb[..., 3:9, 3:9] != back[:, None, None]).any(2).all())


def test_gradients_reach_the_texture_the_mesh_the_images_and_the_cameras() -> None:
    texture = 0.2 + 0.6 * torch.rand(3, 5, 5, dtype=torch.float64)
    flat, camera = wall(texture), ahead((4, 4)).to(torch.float64)
    corners = flat.mesh.vertices.double() * torch.tensor([1.01, 0.98, 1.0]).double()

    def shown(texture: torch.Tensor, corners: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        painted = TexturedMesh(Mesh(corners, flat.mesh.faces), flat.uv.double(), texture)
        return render_textured(painted, replace(camera, world_from_camera=pose))[0]

    inputs = [values.clone().requires_grad_() for values in (texture, corners, camera.world_from_camera)]
    assert torch.autograd.gradcheck(shown, inputs, fast_mode=True)
    image = 0.2 + 0.6 * torch.rand(1, 3, 4, 4, dtype=torch.float64)
    painted = TexturedMesh(Mesh(corners, flat.mesh.faces), flat.uv.double(), texture)
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda rgb: bake(painted, rgb, camera).texture, image, fast_mode=True)


def test_a_baked_wall_has_the_images_colors_at_its_texels_whatever_the_cameras_distance() -> None:
    light = torch.linspace(0, 1, 40).expand(3, 40, 40)  # linear across the image, so also across the wall
    near = torch.eye(4)
    near[2, 3] = 1.0  # sees the middle of the wall, twice as large
    cameras = Cameras.from_fov(torch.stack([torch.eye(4), near]), 53.13010235415598, (40, 40))
    images = srgb_from_linear(torch.stack([light, 0.25 + light / 2]))
    baked = bake(wall(torch.zeros(3, 20, 20)), images, cameras)
    expected = torch.nn.functional.avg_pool2d(light[None], 2)[0]
    inner = (linear_from_srgb(baked.texture) - expected)[:, 1:-1, 1:-1]
    assert inner.abs().max() < 2e-3
    rgb, _ = render_textured(baked, cameras)
    assert (linear_from_srgb(rgb) - linear_from_srgb(images))[..., 2:-2, 2:-2].abs().max() < 3e-3


def test_square_and_near_views_outweigh_the_others_and_hidden_surface_takes_no_color() -> None:
    texture = torch.zeros(3, 16, 16)
    far, slanted = torch.eye(4), look_at(torch.tensor([2.9, 0.0, 1.2]), torch.tensor([0.0, 0.0, 2.0]))
    far[2, 3] = -6.0
    for worse in (far, slanted):
        cameras = Cameras.from_fov(torch.stack([torch.eye(4), worse]), 60.0, (64, 64))
        images = torch.stack([torch.full((3, 64, 64), 0.25), torch.full((3, 64, 64), 0.75)])
        middle = bake(wall(texture), images, cameras).texture[:, 4:12, 4:12]
        assert float(middle.min()) > 0.24 and float(middle.max()) < 0.3
    screen = torch.tensor([[-1.0, -1, 1.0], [0, -1, 1.0], [0, 1, 1.0], [-1, 1, 1.0]])  # hides the left from the front
    back = wall(texture)
    both = Mesh(torch.cat([back.mesh.vertices, screen]), torch.cat([back.mesh.faces, back.mesh.faces + 4]))
    uv = torch.cat([back.uv * torch.tensor([0.5, 1.0]), back.uv * torch.tensor([0.5, 1.0]) + torch.tensor([0.5, 0.0])])
    side = look_at(torch.tensor([0.9, 0.0, 0.2]), torch.tensor([-0.6, 0.0, 2.0]))
    cameras = Cameras.from_fov(torch.stack([torch.eye(4), side]), 70.0, (96, 96))
    seen = rasterize(both, cameras).face[:, 0]
    images = torch.where((seen >= 2)[:, None], torch.tensor([1.0, 0, 0])[:, None, None], torch.full((3, 1, 1), 0.4))
    baked = bake(TexturedMesh(both, uv, torch.zeros(3, 32, 64)), images, cameras).texture
    assert (baked[:, :, :32] - 0.4).abs().max() < 0.02  # nothing of the red screen on the wall behind
    assert (baked[:, 4:28, 36:60] - torch.tensor([1.0, 0, 0])[:, None, None]).abs().max() < 0.02


@pytest.fixture(scope="module")
def balls() -> dict[str, object]:
    """A sphere's exact images, its mesh, unwrapped and baked."""
    pytest.importorskip("xatlas")
    center = torch.tensor([1.0, 2.0, 0.5])
    poses = torch.cat([orbit(center, 3.0, elevation, 6) for elevation in (-40.0, 40.0)])
    scene = see_sphere(Cameras.from_fov(poses, 45.0, (64, 72)), center, 0.8)
    made = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
    mesh = Mesh(torch.tensor(made.vertices).float() + center, torch.tensor(made.faces))
    unwrapped = unwrap(mesh, 96)
    return {"scene": scene, "mesh": mesh, "unwrapped": unwrapped, "baked": bake(unwrapped, scene.rgb, scene.cameras)}


def test_unwrapping_keeps_the_faces_and_no_two_share_a_texel(balls) -> None:
    mesh, cut = balls["mesh"], balls["unwrapped"]
    assert torch.equal(cut.mesh.vertices[cut.mesh.faces], mesh.vertices[mesh.faces])
    assert len(cut.mesh.vertices) > len(mesh.vertices) and bool((cut.texture == GRAY).all())
    place = cut.uv[cut.mesh.faces].double()
    a, b = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum() / 2
    flat = Mesh(torch.cat([cut.uv * 500, torch.ones(len(cut.uv), 1)], -1), cut.mesh.faces)
    covered = rasterize(flat, Cameras(torch.eye(4), torch.eye(3), (500, 500))).face >= 0
    assert abs(float(covered.double().mean()) - float(area)) < 0.01 * float(area)  # overlaps would be counted twice
    assert area > 0.4


def test_a_baked_ball_looks_like_its_images_and_like_new_ones(balls) -> None:
    scene, baked = balls["scene"], balls["baked"]
    new = Cameras.from_fov(orbit(scene.center, 3.0, 5.0, 3), 45.0, (64, 72))
    for truth in (scene, see_sphere(new, scene.center, 0.8)):
        rgb, depth = render_textured(baked, truth.cameras)
        inside = -torch.nn.functional.max_pool2d(-(depth.isfinite() & truth.depth.isfinite()).float(), 3, 1, 1) > 0
        error = (rgb - truth.rgb).abs().amax(1, keepdim=True)[inside]
        assert error.max() < 0.05 and error.mean() < 0.01
        assert (depth - render_mesh(_gray(balls["mesh"]), truth.cameras)[1]).nan_to_num(0.0).abs().max() < 1e-4


def test_unseen_texels_take_their_neighbors_colors_across_seams(balls) -> None:
    scene = balls["scene"]
    one = bake(balls["unwrapped"], scene.rgb[:1], scene.cameras[:1])
    behind = Cameras.from_fov(orbit(scene.center, 3.0, 40.0, 2)[1:], 45.0, (64, 72))  # sees what the first does not
    rgb, depth = render_textured(one, behind)
    normal_toward = torch.nn.functional.normalize(scene.cameras.centers[0] - scene.center, dim=0)
    found = rgb[:, :, depth[0, 0].isfinite()]
    assert ((found[0].mT * 2 - 1) @ normal_toward).min() > -0.25  # a color is a normal: none of the unseen half
    assert (found - GRAY).abs().amax(1).min() > 0.01


def test_a_piece_that_nobody_sees_takes_the_mean_of_all_that_is_seen(balls) -> None:
    scene, mesh = balls["scene"], balls["mesh"]
    shift = torch.tensor([50.0, 0.0, 0.0])
    both = torch.cat([mesh.vertices, mesh.vertices + shift])
    two = Mesh(both, torch.cat([mesh.faces, mesh.faces + len(mesh.vertices)]))
    baked = bake(unwrap(two, 96), scene.rgb[:3], scene.cameras[:3])
    pose = scene.cameras.world_from_camera[:3].clone()
    pose[:, :3, 3] += shift
    rgb, depth = render_textured(baked, Cameras(pose, scene.cameras.K[:3], scene.cameras.hw))
    found = rgb.movedim(1, -1)[depth[:, 0].isfinite()]
    assert (found - found.mean(0)).abs().max() < 1e-4
    assert (found.mean(0) - 0.5).abs().max() < 0.4  # colors of half a sphere


def test_a_new_bake_does_not_depend_on_the_old_texture_and_errors_are_one_line(balls, refused, unchecked) -> None:
    scene, cut = balls["scene"], balls["unwrapped"]
    again = bake(balls["baked"], scene.rgb, scene.cameras)
    assert torch.equal(again.texture, balls["baked"].texture)
    with refused("baking: rgb"):
        bake(cut, scene.rgb[:2], scene.cameras)
    away = Cameras.from_fov(look_at(torch.tensor([[9.0, 9, 9]]), torch.tensor([[20.0, 20, 20]])), 45.0, (64, 72))
    with refused("no camera sees"):
        bake(cut, scene.rgb[:1], away)
    with refused("u and v in 0..1"):
        TexturedMesh(cut.mesh, cut.uv + 1, cut.texture)
    with refused("[v, 2]"):
        TexturedMesh(cut.mesh, cut.uv[:3], cut.texture)
    with refused("0 faces"):
        unwrap(Mesh(torch.rand(3, 3), torch.zeros(0, 3, dtype=torch.long)))
    with refused("of 3 px"):
        unwrap(balls["mesh"], 3)
    with refused("positive area"):
        unwrap(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])))


def test_without_xatlas_one_line_says_how_to_get_it(monkeypatch, refused) -> None:
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with refused("xatlas", "pip install 'worldgen[mesh]'"):
        unwrap(Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])))


def _gray(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces, torch.full_like(mesh.vertices, 0.5))
