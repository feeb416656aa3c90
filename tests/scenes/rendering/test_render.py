"""The renderer against closed forms, walking along rays, and itself under changes that must not matter."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.rotation.transforms import look_at, rigid, rotation_about
from tests.scenes.truth import SOLIDS, object_truth, rays, scene_of
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.motion import Motion
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

EYES = torch.tensor([[2.5, -1.2, 1.1], [-0.4, 2.8, 2.0]])
MIDDLE = torch.tensor([0.2, -0.1, 0.5])
BALL = scene_of([Shape.BALL], MIDDLE[None], torch.full((1, 3), 0.5))
EMPTY = replace(BALL, kind=torch.tensor([[int(Shape.NONE), int(Shape.PLANE)]]))


def looking(
    eyes: Tensor, target: tuple[float, float, float] = (0.1, 0.1, 0.4), hw: tuple[int, int] = (24, 20)
) -> Cameras:
    """Cameras [1, f] at the eyes."""
    return Cameras.from_fov(look_at(eyes, torch.tensor(target))[None], 50.0, hw)


def some_views(scenes: int, frames: int, hw: tuple[int, int] = (16, 16)) -> Cameras:
    """Cameras [scenes, frames] on rings."""
    return ring(torch.rand(scenes, NUMBERS), torch.rand(scenes, frames, NUMBERS), torch.full((scenes,), 180.0), hw)


def ground_depth(cameras: Cameras) -> Tensor:
    """z-depth of the plane z = 0 [*b, h, w], inf where the ray does not reach it."""
    origin, direction = rays(cameras)
    t = -origin[..., 2] / direction[..., 2]
    return torch.where(t > 0, t, torch.inf)


def assert_depth(depth: Tensor, truth: Tensor, instances: Tensor, object_t: Tensor) -> None:
    """Depth and ids are those of the nearer of ground and object; at silhouettes either may be hit."""
    agree = torch.isclose(depth[:, :, 0].double(), truth, rtol=1e-4)
    assert agree.double().mean() > 0.995
    assert object_t.isfinite().double().mean() > 0.05 and truth.isinf().any()
    wanted = torch.where(truth.isinf(), -1, torch.where(object_t <= truth, 1, 0))
    assert torch.equal(instances[:, :, 0][agree], wanted[agree])


def test_the_depth_of_a_ball_is_the_quadratic_s_nearer_root() -> None:
    cameras = looking(EYES)
    clip = render(BALL, cameras)
    origin, direction = rays(cameras)
    offset = origin - MIDDLE.double()
    a, b, c = (direction**2).sum(-1), 2 * (offset * direction).sum(-1), (offset**2).sum(-1) - 0.25
    root = (b**2 - 4 * a * c).sqrt()  # NaN where the ray misses
    ball = ((-b - root) / (2 * a)).nan_to_num(torch.inf)
    assert clip.instances is not None
    assert_depth(clip.depth, torch.minimum(ball, ground_depth(cameras)), clip.instances, ball)


def test_the_depth_of_a_box_is_that_of_the_nearest_face_a_ray_hits_within_its_edges() -> None:
    center, half = torch.tensor([0.2, -0.1, 0.3]), torch.tensor([0.5, 0.4, 0.3])
    cameras = looking(EYES)
    clip = render(scene_of([Shape.BOX], center[None], half[None]), cameras)
    origin, direction = rays(cameras)
    box = torch.full(origin.shape[:-1], torch.inf).double()
    for axis in range(3):
        for sign in (-1, 1):
            t = (center[axis] + sign * half[axis] - origin[..., axis]) / direction[..., axis]
            beside = ((origin + t[..., None] * direction - center).abs() <= half)[
                ..., [i for i in range(3) if i != axis]
            ]
            box = torch.where(beside.all(-1) & (t > 0) & (t < box), t, box)
    assert clip.instances is not None
    assert_depth(clip.depth, torch.minimum(box, ground_depth(cameras)), clip.instances, box)


def test_the_ground_is_at_the_eye_s_height_over_the_ray_s_fall_and_all_else_is_sky() -> None:
    cameras = looking(EYES, target=(0.0, 0.0, 1.0))
    clip = render(EMPTY, cameras)
    truth = ground_depth(cameras)[:, :, None]
    assert clip.instances is not None
    assert torch.equal(clip.instances, torch.where(truth.isfinite(), 0, -1))
    assert torch.allclose(clip.depth.double(), truth, rtol=1e-5)
    assert truth.isinf().any() and truth.isfinite().any()


@pytest.mark.parametrize("kind", SOLIDS)
def test_a_turned_and_stretched_solid_is_where_walking_along_the_rays_finds_it(kind: Shape) -> None:
    rotation = rotation_about(torch.tensor([[0.3, -1.0, 0.5]]), torch.tensor([2.1]))
    scene = scene_of([kind], torch.tensor([[0.1, 0.1, 0.8]]), torch.tensor([[0.6, 0.35, 0.5]]), rotation)
    cameras = looking(EYES, target=(0.1, 0.1, 0.9))
    clip = render(scene, cameras)
    solid = object_truth(scene, 0, 0, cameras[0], far=8.0)[None]
    assert clip.instances is not None
    assert_depth(clip.depth, torch.minimum(solid, ground_depth(cameras)), clip.instances, solid)


def test_of_several_objects_the_nearest_is_seen_and_named() -> None:
    scene, cameras = tabletop(3, [0, 1, 2]), some_views(3, 1)
    clip = render(scene, cameras)
    assert clip.instances is not None
    for b in range(3):
        solids = [object_truth(scene, b, n, cameras[b], far=8.0) for n in range(4) if scene.kind[b, n] >= 0]
        truth, instance = torch.stack([ground_depth(cameras[b]), *solids]).min(0)
        agree = torch.isclose(clip.depth[b, :, 0].double(), truth, rtol=1e-4)
        assert agree.double().mean() > 0.985
        named = torch.where(truth.isinf(), -1, instance)
        assert torch.equal(clip.instances[b, :, 0][agree], named[agree]) and len(named.unique()) >= 3


def test_which_object_hides_which_does_not_depend_on_their_order() -> None:
    kinds: list[int] = [Shape.BALL, Shape.BOX, Shape.CONE]
    sizes = torch.full((3, 3), 0.4)
    centers = torch.tensor([[0.9, 0.0, 0.4], [0.0, 0.1, 0.4], [-0.7, -0.5, 0.6]])  # in a row away from the camera
    cameras = looking(torch.tensor([[2.8, 0.9, 1.2]]))
    first = render(scene_of(kinds, centers, sizes), cameras)
    second = render(scene_of(kinds[::-1], centers.flip(0), sizes), cameras)
    assert first.instances is not None and second.instances is not None
    assert torch.equal(first.depth, second.depth)
    assert torch.equal(torch.where(first.instances > 0, 4 - first.instances, first.instances), second.instances)
    assert set(first.instances.unique().tolist()) == {-1, 0, 1, 2, 3}


def test_no_number_is_nan_and_the_sky_alone_is_infinitely_far() -> None:
    clip = render(tabletop(5, list(range(6))), some_views(6, 3))
    assert clip.instances is not None
    assert bool(((clip.rgb >= 0) & (clip.rgb <= 1)).all())
    assert torch.equal(clip.depth.isinf(), clip.instances == -1)
    assert bool((clip.depth > 0).all())


def test_the_image_does_not_depend_on_how_many_rays_are_held_at_once() -> None:
    scene, cameras = tabletop(1, [4, 5, 6]), some_views(3, 3)
    whole = render(scene, cameras)
    for chunk in (1, 3000, 8000):
        part = render(scene, cameras, chunk_rays=chunk)
        assert torch.allclose(part.rgb, whole.rgb, atol=1e-5) and torch.allclose(part.depth, whole.depth, atol=1e-5)


def test_the_image_does_not_depend_on_the_other_scenes_of_the_batch() -> None:
    scene, cameras = tabletop(1, [4, 5, 6]), some_views(3, 2)
    whole, alone = render(scene, cameras), render(scene[1:2], cameras[1:2])
    assert torch.allclose(alone.rgb[0], whole.rgb[1], atol=1e-5)
    assert torch.allclose(alone.depth[0], whole.depth[1], atol=1e-5)


def test_a_supersampled_pixel_is_the_mean_light_of_the_pixels_of_a_larger_image() -> None:
    scene, cameras = tabletop(2, [0, 1]), some_views(2, 1, (12, 12))
    fine = render(scene, cameras.resized((36, 36)), supersample=1).rgb
    light = linear_from_srgb(fine).unflatten(-1, (12, 3)).unflatten(-3, (12, 3))
    unsaturated = (light < 1).all(-1).all(-2)
    wanted = srgb_from_linear(light.mean((-1, -3)))
    coarse = render(scene, cameras, supersample=3).rgb
    assert torch.allclose(coarse[unsaturated], wanted[unsaturated], atol=1e-4)
    assert unsaturated.double().mean() > 0.9


def test_supersampling_changes_neither_depth_nor_ids() -> None:
    scene, cameras = tabletop(2, [0, 1]), some_views(2, 1)
    one, three = render(scene, cameras, supersample=1), render(scene, cameras, supersample=3)
    assert one.instances is not None and three.instances is not None
    assert torch.equal(one.depth, three.depth) and torch.equal(one.instances, three.instances)


def test_the_ground_is_darker_where_the_ball_hides_the_sun_and_unchanged_elsewhere() -> None:
    cameras = looking(torch.tensor([[0.5, -2.5, 2.5]]), target=(-0.4, 0.0, 0.0))
    seen, bare = render(BALL, cameras, supersample=1), render(EMPTY, cameras, supersample=1)
    assert seen.instances is not None
    ground = seen.instances[0, 0, 0] == 0
    point = unproject(cameras, seen.depth)[0, 0][ground] - MIDDLE
    to_sun = BALL.light.to_sun[0]
    aside = torch.linalg.cross(point, to_sun.expand_as(point)).norm(dim=-1)  # from the line through the ball to the sun
    shadow, clear = aside < 0.49, aside > 0.51
    change = (seen.rgb - bare.rgb)[0, 0][:, ground]
    assert shadow.sum() > 10 and clear.sum() > 100
    assert bool((change[:, shadow] < -0.05).all()) and bool((change[:, clear] == 0).all())


def test_light_follows_lambert_s_law_on_the_sunny_side_of_a_ball() -> None:
    cameras = looking(torch.tensor([[2.5, -1.2, 1.1]]))
    clip = render(BALL, cameras, supersample=1)
    assert clip.instances is not None
    ball = clip.instances[0, 0, 0] == 1
    normal = (unproject(cameras, clip.depth)[0, 0][ball] - MIDDLE) / 0.5
    facing = normal @ BALL.light.to_sun[0]
    wanted = 0.5 * 0.4 * ((0.75 + 0.25 * normal[:, 2]) + facing.clamp_min(0))
    sure = facing.abs() > 0.05  # at the terminator the shadow's bias decides
    light = linear_from_srgb(clip.rgb)[0, 0][:, ball]
    assert sure.sum() > 30
    assert torch.allclose(light[:, sure], wanted[sure].expand(3, -1), atol=2e-3)


def test_turning_the_world_and_the_camera_about_the_vertical_changes_nothing() -> None:
    scene = tabletop(4, [0, 1])
    turn = rotation_about(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(1.1))
    cameras = some_views(2, 1, (20, 20))
    position, rotation = scene.motion.at(torch.zeros(2, 1))
    motion = Motion.still(position[:, 0] @ turn.T, turn @ rotation[:, 0])
    turned = replace(scene, motion=motion, light=replace(scene.light, to_sun=scene.light.to_sun @ turn.T))
    before, after = render(scene, cameras), render(turned, cameras.moved(rigid(turn, torch.zeros(3))))
    same = torch.isclose(before.depth, after.depth, rtol=1e-4) & torch.isclose(before.rgb, after.rgb, atol=2e-3).all(
        2, True
    )
    assert same.double().mean() > 0.99


def test_what_one_camera_sees_another_sees_at_the_same_place_or_something_nearer() -> None:
    scene, cameras = tabletop(6, [0]), some_views(1, 2, (12, 12))
    clip = render(scene, cameras)
    points = unproject(cameras[:, 0], clip.depth[:, 0]).flatten(1, 2)
    seen = clip.depth[:, 0].flatten().isfinite()
    points = points[:, seen]
    # One camera of one pixel for each point, at the second camera's center, looking at the point.
    pose = look_at(cameras.centers[:, 1:].expand_as(points), points)
    probes = Cameras.from_fov(pose, 1.0, (1, 1))
    probe = render(scene, probes, supersample=1)
    uv, z = project(probes, points[:, :, None])
    depth = probe.depth.flatten(1)
    assert torch.allclose(uv, torch.full_like(uv, 0.5), atol=1e-2)
    assert bool((depth <= z.squeeze(-1) + 2e-3).all())
    visible = (depth - z.squeeze(-1)).abs() < 2e-3
    assert 0.3 < visible.double().mean() < 1
    assert probe.instances is not None and clip.instances is not None
    assert torch.equal(probe.instances.flatten(1)[visible], clip.instances[:, 0].flatten(1)[:, seen][visible])


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1,)])
def test_cameras_that_do_not_match_the_scenes_are_refused(shape: tuple[int, ...]) -> None:
    cameras = Cameras.from_fov(torch.eye(4).expand(*shape, 4, 4), 50.0, (4, 4))
    with pytest.raises(InputError, match="expected"):
        render(BALL, cameras)


def test_a_camera_straight_above_sees_what_is_below_it() -> None:
    scene: Scene = scene_of([Shape.CYLINDER], torch.tensor([[0.0, 0.0, 0.5]]), torch.tensor([[0.4, 0.4, 0.5]]))
    cameras = looking(torch.tensor([[0.0, 0.0, 3.0]]), target=(0.0, 0.0, 0.0), hw=(9, 9))
    clip = render(scene, cameras)
    fx = 4.5 / math.tan(math.radians(25))
    u = (torch.arange(9) - 4) / fx * 2  # metres from the axis at the cylinder's top, 2 m below the eye
    top = (u[None] ** 2 + u[:, None] ** 2) < 0.4**2
    assert torch.allclose(clip.depth[0, 0, 0][top], torch.tensor(2.0), atol=1e-5)
    assert bool((clip.depth[0, 0, 0][~top] > 2.01).all()) and top.sum() > 4
