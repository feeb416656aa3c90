"""Truths beside color: normals, classes, flow, scene flow and visibility, each against an independent computation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.conventions import linear_from_srgb
from geometry.errors import InputError
from geometry.rotation.transforms import look_at, rotation_about
from tests.scenes.truth import scene_of
from worldgen.core.clip import Clip
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families.builder import Builder, height_field, plain, texture
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import TRUTHS, render
from worldgen.scenes.rendering.solids import Solids
from worldgen.scenes.rendering.torch.images import render_torch
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern

SHAPES = (Shape.BOX, Shape.TORUS, Shape.CAPSULE, Shape.SUPERQUADRIC, Shape.BALL)
MOMENTS = np.linspace(0, 1, 5).astype(np.float32)


def moving(seed: int = 0) -> Scene:
    """One scene of five turning and traveling solids and a mesh, each its own instance and class, over a ground."""
    rng = np.random.default_rng(seed)
    build = Builder(MOMENTS)
    for n, kind in enumerate(SHAPES):
        axis, start = torch.from_numpy(rng.normal(size=3)).float(), rng.uniform((-1, -1, 0.4), (1, 1, 2.4))
        angles = torch.linspace(0, 0.6, 5)
        rotation = rotation_about(axis.expand(5, 3), angles).numpy()
        center = start + np.linspace(0, 1, 5)[:, None] * rng.uniform(-0.6, 0.6, 3)
        look = texture(Pattern.NOISE, rng.random(3) * 0.8, rng.random(3) * 0.8, 0.4, sharpness=3.0)
        size = (0.4, 0.35, 0.12) if kind == Shape.TORUS else (0.35, 0.3, 0.4)
        build.add(kind, center, size, look, rotation=rotation, form=(0.35, 0.6), instance=build.thing(),
                  semantic=SemanticClass(n + 4))  # fmt: skip
    hills = height_field(rng.uniform(0, 0.3, (5, 5)), (1.5, 1.5))
    track = np.linspace((0.4, 0.8, 0.05), (0.0, 0.9, 0.2), 5)
    build.mesh(hills, track, plain((0.3, 0.5, 0.2)), instance=build.thing())
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.4, 0.4, 0.4)), semantic=SemanticClass.GROUND)
    light = np.full(3, 0.4)
    return build.scene((0.4, -0.3, 0.9), light, light, light, light)


def flying(frames: int = 3, hw: tuple[int, int] = (40, 56)) -> Cameras:
    """Cameras [1, f] that move and turn over a second."""
    share = torch.linspace(0, 1, frames)
    eye = torch.stack([2.8 + 0.3 * share, -2.5 + 0.8 * share, 2.2 - 0.2 * share], -1)
    target = torch.stack([0.1 * share, 0.2 * share, torch.full_like(share, 0.8)], -1)
    return replace(Cameras.from_fov(look_at(eye, target)[None], 50.0, hw), time_s=share[None])


@pytest.fixture(scope="module")
def clip() -> Clip:
    """The moving scene with all its truths."""
    return render(moving(), flying(), truths=TRUTHS)


def body_points(scene: Scene, clip: Clip, frame: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hit pixels [h, w] of a frame, and their primitives and points in the primitives' own frames [n, 3]."""
    slot_of = torch.full((20,), -1)
    slot_of[scene.instance[0]] = torch.arange(scene.kind.shape[1])
    assert clip.instances is not None
    hit = clip.instances[0, frame, 0] >= 0
    slot = slot_of[clip.instances[0, frame, 0][hit]]
    world = unproject(clip.cameras[0, frame], clip.depth[0, frame])[hit]
    position, rotation = scene.motion.at(clip.cameras.time_s)
    local = (world - position[0, frame, slot]).unsqueeze(-2) @ rotation[0, frame, slot]
    return hit, slot, local.squeeze(-2)


def test_a_point_followed_over_time_lands_where_its_body_s_motion_says(clip: Clip) -> None:
    scene, cameras = moving(), clip.cameras
    assert clip.flow is not None and clip.scene_flow is not None
    position, rotation = scene.motion.at(cameras.time_s)
    for frame in (0, 1):
        hit, slot, local = body_points(scene, clip, frame)
        after = (rotation[0, frame + 1, slot] @ local[..., None]).squeeze(-1) + position[0, frame + 1, slot]
        before = unproject(cameras[0, frame], clip.depth[0, frame])[hit]
        assert len(slot.unique()) == 7
        assert torch.allclose(clip.scene_flow[0, frame][:, hit].T, after - before, atol=2e-5)
        uv, z = project(cameras[0, frame + 1], after)
        grid = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(56.0), indexing="ij")[::-1], -1) + 0.5
        assert bool((z > 0.1).all())
        assert torch.allclose(clip.flow[0, frame][:, hit].T, uv - grid[hit], atol=2e-3)


def test_the_sky_flows_as_a_turning_camera_says_and_moves_nowhere() -> None:
    eye = torch.tensor([[[0.0, 0.0, 1.0], [3.0, 1.0, 1.5]]])
    target = eye + torch.tensor([[[1.0, 0.0, 0.3], [1.0, 0.1, 0.35]]])
    cameras = Cameras.from_fov(look_at(eye, target), 60.0, (24, 32))
    clip = render(scene_of([Shape.NONE], torch.zeros(1, 3), torch.ones(1, 3)), cameras, truths=TRUTHS)
    sky = clip.depth[0, 0, 0].isinf()
    far = unproject(cameras[0, 0], torch.full((1, 24, 32), 1e7))[sky] - cameras.centers[0, 0]
    uv, _ = project(cameras[0, 1], far)  # from the second camera's place 1e7 m is infinity enough
    grid = torch.stack(torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")[::-1], -1) + 0.5
    assert clip.flow is not None and clip.scene_flow is not None and sky.sum() > 100
    assert torch.allclose(clip.flow[0, 0][:, sky].T, uv - grid[sky], atol=1e-2)
    assert bool((clip.scene_flow[0, 0][:, sky] == 0).all())


def test_visible_means_that_the_next_frame_has_the_same_body_at_that_depth(clip: Clip) -> None:
    assert clip.flow is not None and clip.visibility is not None and clip.scene_flow is not None
    assert clip.instances is not None
    checked = 0
    for frame in (0, 1):
        hit = clip.instances[0, frame, 0] >= 0
        after = unproject(clip.cameras[0, frame], clip.depth[0, frame])[hit] + clip.scene_flow[0, frame][:, hit].T
        uv, z = project(clip.cameras[0, frame + 1], after)
        inside = ((uv >= 0) & (uv < torch.tensor([56, 40]))).all(-1)
        visible = clip.visibility[0, frame, 0][hit]
        assert not bool(visible[~inside].any())
        column, row = uv[inside].long().unbind(-1)
        near_by = F.pad(clip.depth[0, frame + 1], (1, 1, 1, 1), mode="replicate").unfold(1, 3, 1).unfold(2, 3, 1)[0]
        low, high = near_by.amin((-1, -2))[row, column], near_by.amax((-1, -2))[row, column]
        # Depth may vary within a pixel; of what is plainly hidden or plainly in the open there is no doubt.
        hidden, open_ = z[inside] > high * 1.05, (z[inside] < high * 1.02) & (z[inside] < low * 1.02)
        assert bool((~visible[inside][hidden]).all()) and hidden.sum() > 20
        assert visible[inside][open_].double().mean() > 0.99
        checked += int(open_.sum())
    assert checked > 300


def test_the_last_frame_has_no_next_one(clip: Clip) -> None:
    assert clip.flow is not None and clip.scene_flow is not None and clip.visibility is not None
    assert not clip.flow[:, -1].any() and not clip.scene_flow[:, -1].any() and not clip.visibility[:, -1].any()


def test_normals_are_those_of_the_depth_map_s_own_surface_and_classes_those_of_the_instances(clip: Clip) -> None:
    assert clip.normals is not None and clip.classes is not None and clip.instances is not None
    scene = moving()
    points = unproject(clip.cameras[0], clip.depth[0])
    across, down = points[:, 1:-1, 2:] - points[:, 1:-1, :-2], points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    measured = F.normalize(torch.linalg.cross(down, across), dim=-1)
    said = clip.normals[0].movedim(1, -1)[:, 1:-1, 1:-1]
    same = F.max_pool2d(clip.instances[0].float(), 3, 1) == -F.max_pool2d(-clip.instances[0].float(), 3, 1)
    aligned = (measured * said).sum(-1)[same[:, 0] & clip.depth[0, :, 0, 1:-1, 1:-1].isfinite()]
    assert aligned.median() > 0.999 and (aligned > 0.9).double().mean() > 0.93
    assert torch.allclose(clip.normals.norm(dim=2), torch.tensor(1.0), atol=1e-4)
    semantic = {int(i): int(c) for i, c in zip(scene.instance[0], scene.semantic[0])} | {-1: -1}
    wanted = torch.tensor([semantic[i] for i in clip.instances.flatten().tolist()])
    assert torch.equal(clip.classes.flatten(), wanted)


def test_the_unfiltered_color_of_a_diffuse_surface_point_is_the_same_in_any_camera() -> None:
    scene = tabletop(2, [0, 3]).to(torch.float64)
    eyes = torch.tensor([[2.5, 1.0, 1.3], [-0.3, 2.9, 1.9]], dtype=torch.float64)
    target = torch.tensor([0.0, 0.0, 0.2], dtype=torch.float64)
    first = Cameras.from_fov(look_at(eyes[0], target)[None, None].expand(2, -1, -1, -1), 40.0, (24, 24))
    seen = render(scene, first, supersample=1, prefilter=False)
    assert seen.instances is not None
    points = unproject(first[:, 0], seen.depth[:, 0]).flatten(1, 2)
    compared = 0
    for b in range(2):
        keep = seen.depth[b, 0, 0].flatten().isfinite() & (seen.instances[b, 0, 0].flatten() > 0)
        # One camera of one pixel for each point: its center ray goes exactly through it.
        pose = look_at(eyes[1].expand_as(points[b][keep]), points[b][keep])
        probes = Cameras.from_fov(pose[None], 1.0, (1, 1))
        probe = render(scene[b : b + 1], probes, supersample=1, prefilter=False)
        z = project(probes, points[b][keep][None, :, None])[1].squeeze(-1)
        same = (probe.depth.flatten() - z.flatten()).abs() < 1e-6
        color = linear_from_srgb(seen.rgb[b, 0]).flatten(1)[:, keep][:, same]
        again = linear_from_srgb(probe.rgb)[0, :, :, 0, 0].T[:, same]
        # At the edge of a shadow the rays' own rounding decides.
        assert ((color - again).abs().amax(0) < 1e-4).double().mean() > 0.995
        compared += int(same.sum())
    assert compared > 100


def test_what_glows_and_what_shines_are_brighter_and_a_lamp_s_light_falls_with_the_square() -> None:
    def ground(lamp_height: float, glow: float = 0.0, gloss: float = 0.0) -> Tensor:
        build = Builder()
        build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.5, 0.5, 0.5)), glow=glow, gloss=gloss)
        build.lamp((0, 0, lamp_height), (1.0, 1.0, 1.0))
        dark = np.zeros(3)
        scene = build.scene((0, 0, 1), dark, dark, dark, dark)
        cameras = Cameras.from_fov(look_at(torch.tensor([[[0.0, 0.0, 9.0]]]), torch.zeros(3)), 1.0, (3, 3))
        return linear_from_srgb(render(scene, cameras, supersample=1).rgb)[0, 0, 0, 1, 1]

    assert float(ground(1.0)) == pytest.approx(0.5, abs=2e-3)
    assert float(ground(2.0)) == pytest.approx(0.125, abs=2e-3)
    assert float(ground(2.0, glow=0.5)) == pytest.approx(0.125 + 0.25, abs=2e-3)
    assert float(ground(2.0, gloss=0.4)) == pytest.approx(0.125 + 0.1, abs=4e-3)  # straight back: the full highlight


def test_a_lamp_s_light_is_blocked_by_a_solid() -> None:
    build = Builder()
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.5, 0.5, 0.5)))
    build.add(Shape.BALL, (0, 0, 1), (0.2, 0.2, 0.2), plain((0.5, 0.5, 0.5)), instance=build.thing())
    build.lamp((0, 0, 2), (2.0, 2.0, 2.0))
    dark = np.zeros(3)
    scene = build.scene((0, 0, 1), dark, dark, dark, dark)
    cameras = Cameras.from_fov(
        look_at(torch.tensor([[[3.0, 0.0, 2.0]]]), torch.tensor([0.0, 0.0, 0.0])), 50.0, (48, 48)
    )
    clip = render(scene, cameras, supersample=1)
    assert clip.instances is not None
    ground = clip.instances[0, 0, 0] == 0
    away = unproject(cameras[0, 0], clip.depth[0, 0])[..., :2].norm(dim=-1)[ground]
    light = clip.rgb[0, 0, 0][ground]
    # The cone from the lamp that touches the ball meets the ground at 2 tan(asin 0.2).
    edge = 2 * math.tan(math.asin(0.2))
    assert bool((light[away < edge - 0.02] == 0).all()) and bool((light[(away > edge + 0.02) & (away < 2)] > 0.1).all())
    assert (away < edge - 0.02).sum() > 5


def test_haze_fades_into_the_horizon_with_distance() -> None:
    build = Builder()
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.2, 0.2, 0.2)), haze_m=5.0)
    scene = build.scene((0, 0, 1), np.full(3, 0.5), np.full(3, 0.2), (0.9, 0.1, 0.1), np.zeros(3))
    cameras = Cameras.from_fov(look_at(torch.tensor([[[0.0, 0.0, 4.0]]]), torch.tensor([0.0, 0.1, 0.0])), 1.0, (1, 1))
    light = linear_from_srgb(render(scene, cameras, supersample=1).rgb)[0, 0, :, 0, 0]
    share = math.exp(-((4 / 5) ** 2))
    wanted = 0.2 * 0.7 * share + (1 - share) * torch.tensor([0.9, 0.1, 0.1])
    assert torch.allclose(light, wanted, atol=2e-3)


@pytest.mark.parametrize("what", ["position", "size", "color"])
def test_the_image_s_gradient_is_its_change_inside_silhouettes(what: str) -> None:
    scene = moving(3).to(torch.float64)
    scene = replace(scene, light=replace(scene.light, lamp=torch.zeros(1, 0, 3).double()))
    cameras = flying(1, (24, 24)).to(torch.float64)
    step = 1e-4

    def changed(by: Tensor) -> Scene:
        if what == "position":
            shift = torch.tensor([0.3, 0.5, 0.2]).double() * by
            return replace(scene, motion=replace(scene.motion, position=scene.motion.position + shift))
        if what == "size":  # that of a mesh bounds its triangles and no more
            return replace(scene, size=torch.where((scene.kind == Shape.MESH)[..., None], 1, 1 + by) * scene.size)
        textures = scene.material.textures
        textures = replace(textures, color_a=textures.color_a + by)
        return replace(scene, material=replace(scene.material, textures=textures))

    def image(by: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        body = changed(by)  # a clip would be float32, whose rounding is as large as what is measured
        maps = render_torch(body, cameras, Solids.of(body, cameras.time_s), 1, (), True, 1 << 17)
        return maps["rgb"][0], maps["depth"][0], maps["instances"][0]

    by = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        (up, up_depth, a), (down, down_depth, b) = image(by + step), image(by - step)
    same = (a == b) & (a > 0)
    up_down = ((up, down), (up_depth, down_depth))
    for channel in range(2):

        def part(by: Tensor, channel: int = channel) -> Tensor:
            rgb, depth, _ = image(by)
            return torch.where(same, depth, 0.0) if channel else torch.where(same, rgb, 0.0)

        slope = torch.autograd.functional.jvp(part, by, torch.ones_like(by))[1]
        assert isinstance(slope, Tensor)
        measured = (up_down[channel][0] - up_down[channel][1]) / (2 * step)
        measured = torch.where(same, measured, 0.0)
        close = (slope - measured).abs() <= 1e-4 + 1e-3 * measured.abs()
        assert close[..., same[0]].double().mean() > 0.98  # edges of faces and shadows carry none
        if channel == 0 or what != "color":
            assert measured.abs().max() > 0.05


def test_an_unknown_truth_is_refused_and_so_are_cameras_and_scenes_with_nan_or_inf() -> None:
    scene, cameras = moving(), flying()
    with pytest.raises(InputError, match="normalz"):
        render(scene, cameras, truths=["normalz"])
    with pytest.raises(InputError, match="poses"):
        render(scene, replace(cameras, world_from_camera=cameras.world_from_camera * torch.nan))
    flat = cameras.K.clone()
    flat[..., 0, 0] = 0
    with pytest.raises(InputError, match="focal length 0"):
        render(scene, replace(cameras, K=flat))
    with pytest.raises(InputError, match="times"):
        render(scene, replace(cameras, time_s=cameras.time_s * torch.inf))
    with pytest.raises(InputError, match="position"):
        render(replace(scene, motion=replace(scene.motion, position=scene.motion.position / 0)), cameras)
    with pytest.raises(InputError, match="half extents"):
        render(replace(scene, size=scene.size * 0), cameras)


def test_an_empty_scene_is_all_sky() -> None:
    scene = moving()
    empty = replace(scene, kind=torch.full_like(scene.kind, int(Shape.NONE)), owner=torch.full_like(scene.owner, -1))
    clip = render(empty, flying(), truths=TRUTHS)
    assert clip.instances is not None and bool((clip.instances == -1).all()) and bool(clip.depth.isinf().all())
    for values in clip.maps().values():
        assert not bool(values.isnan().any())


@pytest.mark.parametrize("kind", [*SHAPES, Shape.CYLINDER, Shape.CONE])
def test_a_camera_inside_a_solid_or_on_it_sees_the_rest_of_the_world(kind: Shape) -> None:
    scene = scene_of([kind], torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.5))
    inside = torch.tensor([0.0, 0.35, 1.0]) if kind == Shape.TORUS else torch.tensor([0.0, 0.05, 0.95])
    eye = torch.stack([inside, torch.tensor([0.0, 0.5, 1.0])])
    cameras = Cameras.from_fov(look_at(eye, eye + torch.tensor([0.0, 1.0, -0.4]))[None], 60.0, (16, 16))
    clip = render(scene, cameras, truths=TRUTHS)
    assert clip.instances is not None and bool((clip.instances <= 0).all()) and bool((clip.instances == 0).any())
    for values in clip.maps().values():
        assert not bool(values.isnan().any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_plate_one_percent_nearer_hides_the_ground_below_it(dtype: torch.dtype) -> None:
    """It slides 5 cm over what a camera 5 m above saw: numba in float32, torch in float64."""
    build = Builder(np.array([0.0, 1.0], np.float32))
    track = np.array([[3.0, 0.0, 0.04], [0.0, 0.0, 0.04]])
    build.add(Shape.BOX, track, (0.6, 0.6, 0.01), plain((0.2, 0.2, 0.2)), instance=build.thing())
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), plain((0.5, 0.5, 0.5)))
    light = np.full(3, 0.4)
    scene = build.scene((0.0, 0.0, 1.0), light, light, light, light).to(dtype)
    pose = look_at(torch.tensor([[0.0, 0.0, 5.0]] * 2), torch.zeros(2, 3))[None]
    cameras = replace(Cameras.from_fov(pose, 30.0, (24, 24)), time_s=torch.tensor([[0.0, 1.0]])).to(dtype)
    clip = render(scene, cameras, 1, ("visibility",))
    assert clip.visibility is not None
    ground = unproject(cameras[0, 0], clip.depth[0, 0])[..., :2].abs().amax(-1)
    covered, open_ = ground < 0.58, ground > 0.64  # its shadow on the ground is 0.6 * 5 / 4.95 wide
    visible = clip.visibility[0, 0, 0]
    assert covered.sum() > 50 and not bool(visible[covered].any())
    assert open_.sum() > 50 and bool(visible[open_].all())
