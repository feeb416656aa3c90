"""Scenes through lenses: images, depth and flow follow the lens models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project, unproject
from geometry.camera.rays import lens_mask, ray_map
from geometry.image.resampling import resample
from geometry.rotation.transforms import look_at
from tests.scenes.truth import scene_of
from worldgen.scenes.cameras.random_lenses import bulged, fisheye, with_lenses
from worldgen.scenes.families.family import draw
from worldgen.scenes.layout import scene_layout
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.shapes import Shape
from worldgen.training.objectives.consistency import disagreement


def through(kind: LensKind, coefficients: list[float], fov_deg: float, hw: tuple[int, int], frames: int = 1) -> Cameras:
    """Cameras [1, f] that go a little to the side, looking at the middle of things."""
    share = torch.linspace(0, 1, frames)
    eye = torch.stack([2.6 + 0 * share, -1.2 + 0.3 * share, 1.3 + 0 * share], -1)
    pose = look_at(eye, torch.tensor([0.0, 0.0, 0.3]))[None]
    lens = Lens.of(kind, torch.tensor(coefficients).expand(1, frames, len(coefficients)))
    return Cameras.from_fov(pose, fov_deg, hw, lens)


LENSES = [
    (LensKind.OPENCV, [-0.15, 0.01, 0.01, -0.01], 80.0, (40, 48)),
    (LensKind.FISHEYE, [0.03, 0.002], 175.0, (40, 48)),
    (LensKind.F_THETA, [0.02, -0.03], 140.0, (40, 48)),
    (LensKind.EQUIRECTANGULAR, [], 180.0, (32, 64)),
]


@pytest.mark.parametrize("lens", LENSES)
def test_depth_leads_along_each_pixels_ray_to_the_ground_or_a_ball(lens) -> None:
    cameras = through(*lens)
    center, radius = torch.tensor([[0.0, 0.0, 0.5]]), 0.5
    scene = scene_of([Shape.BALL], center, torch.full((1, 3), radius))
    clip = render(scene, cameras, supersample=1)
    assert clip.instances is not None
    ids, points = clip.instances[0, 0, 0], unproject(cameras, clip.depth)[0, 0]
    origin, direction = (rays[0, 0] for rays in ray_map(cameras))
    assert int((ids == 1).sum()) >= 10 and int((ids == 0).sum()) > 200 and int((ids == -1).sum()) > 50
    assert float(points[ids == 0][:, 2].abs().max()) < 2e-3, "on the ground"
    assert float(((points[ids == 1] - center).norm(dim=-1) - radius).abs().max()) < 1e-4, "on the ball"
    # By closed form: rays that fall meet the ground, those that rise the sky, unless the ball is in the way.
    offset = center[0] - origin
    along = (offset * direction).sum(-1)
    meets = (along > 0) & ((offset - along[..., None] * direction).norm(dim=-1) < radius)
    assert bool(((ids == 1) == meets).all())
    clear = (direction[..., 2].abs() > 1e-4) & lens_mask(cameras)[0, 0, 0]
    assert bool(((ids == -1) == (~meets & (direction[..., 2] >= 0)))[clear].all())


@pytest.mark.parametrize("lens", LENSES)
def test_flow_is_where_the_lens_projects_a_point_at_rest_a_frame_later(lens) -> None:
    cameras, scene = through(*lens, frames=2), draw("tabletop", 0, [3])
    clip = render(scene, cameras, 1, ("flow", "visibility"))
    assert clip.flow is not None and clip.visibility is not None and clip.instances is not None
    hit = clip.depth[0, 0, 0].isfinite() & (clip.flow[0, 0].abs().amax(0) > 0)
    points = unproject(cameras[:, :1], clip.depth[:, :1].nan_to_num(posinf=1.0))[0, 0]
    uv, depth = project(cameras[0, 1], points[hit])
    here, _ = project(cameras[0, 0], points[hit])
    expected = uv - here
    inside = (expected.abs() < 10).all(-1) & (depth > 0)  # none that leaves at one end of a panorama for the other
    assert float(inside.double().mean()) > 0.8
    assert float((clip.flow[0, 0].movedim(0, -1)[hit] - expected)[inside].abs().max()) < 2e-2
    assert 0.5 < float(clip.visibility[0, 0, 0][hit].double().mean()) <= 1


def test_a_fisheye_image_undistorted_is_the_pinholes() -> None:
    scene = draw("room", 1, [4])
    pose = look_at(torch.tensor([1.0, 0.6, 1.6]), torch.tensor([-0.5, -0.3, 0.6]))[None, None]
    lens = Lens.of(LensKind.FISHEYE, torch.tensor([[[0.03, 0.002]]]))
    wide, flat = Cameras.from_fov(pose, 180.0, (480, 480), lens), Cameras.from_fov(pose, 90.0, (80, 80))
    there = render(scene, flat, supersample=4).rgb
    found, known = resample(render(scene, wide, supersample=2).rgb, wide, flat.resized((320, 320)))
    shrunk = torch.nn.functional.avg_pool2d(found[0], 4)[None]
    assert bool(known.all())
    assert float(-10 * (shrunk - there).square().mean().log10()) > 35


def test_a_straight_bar_is_drawn_as_the_curve_of_the_lens_model() -> None:
    bar = scene_of([Shape.BOX], torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.02, 5.0, 0.02]]))
    pose = look_at(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 1.0]))[None, None]
    lens = Lens.of(LensKind.FISHEYE, torch.zeros(1, 1, 1))
    cameras = Cameras.from_fov(pose, 150.0, (200, 200), lens)
    clip = render(bar, cameras, supersample=1)
    assert clip.instances is not None
    row, column = (clip.instances[0, 0, 0] == 1).nonzero().T
    assert len(row) > 150 and int(column.max() - column.min()) > 130
    axis = torch.stack([torch.zeros(2001), torch.linspace(-5, 5, 2001), torch.full((2001,), 2.0)], -1)
    curve, _ = project(cameras[0, 0], axis)
    pixels = torch.stack([column, row], -1) + 0.5
    assert float(torch.cdist(pixels, curve).amin(1).max()) < 1.5
    # The equidistant projection by hand: the angle to the axis, in the direction of the offset.
    offset = axis - torch.tensor([3.0, 0.0, 1.0])
    angle = torch.atan2(offset[:, 1:].norm(dim=-1), -offset[:, 0])
    radius = 100 / np.radians(75) * angle
    by_hand = 100 + radius[:, None] * torch.nn.functional.normalize(offset[:, 1:] * torch.tensor([1.0, -1.0]), dim=-1)
    assert torch.allclose(curve, by_hand, atol=1e-2)
    assert float(curve[:, 1].max() - curve[:, 1].min()) > 8, "a pinhole would draw it level"


def test_pixels_that_a_lens_does_not_show_are_black_and_unknown() -> None:
    cameras = through(LensKind.FISHEYE, [-0.1], 140.0, (64, 64))
    clip = render(draw("tabletop", 0, [1]), cameras, 2, ("normals", "classes"))
    dark = ~lens_mask(cameras)
    assert 200 < int(dark.sum()) < 1500 and clip.instances is not None and clip.classes is not None
    assert not bool(clip.rgb[dark.expand_as(clip.rgb)].any()) and not bool(clip.depth[dark].any())
    assert bool((clip.instances[dark] == -1).all() and (clip.classes[dark] == -1).all())
    assert bool((clip.depth[~dark] > 0).all())


def test_a_layout_through_a_lens_shows_boxes_where_the_things_are() -> None:
    scene = draw("street", 0, [2])
    pose = look_at(torch.tensor([0.0, 0.0, 2.5]), torch.tensor([10.0, 0.0, 1.0]))[None, None]
    lens = Lens.of(LensKind.FISHEYE, torch.zeros(1, 1, 1))
    cameras = Cameras.from_fov(pose, 120.0, (64, 96), lens)
    plain = scene_layout(scene, cameras)
    pinhole = scene_layout(scene, Cameras.from_fov(pose, 90.0, (64, 64)))
    again, known = resample(plain, cameras, Cameras.from_fov(pose, 90.0, (64, 64)))
    error, other = (float((image - pinhole).abs().mean()) for image in (again, again.flip(-1)))
    assert bool(known.all()) and error < 0.04 and error < 0.4 * other


def test_true_images_through_a_lens_agree_with_one_another() -> None:
    cameras = through(LensKind.FISHEYE, [0.03], 120.0, (96, 96), frames=2)
    clip = render(draw("tabletop", 0, [5]), cameras, supersample=3)
    one = torch.ones(1, 2)
    true, other = disagreement(clip.rgb, clip, one), disagreement(clip.rgb.flip(1), clip, one)
    assert float(true) < 0.01 and float(true) < 0.3 * float(other)


def test_the_lenses_drawn_show_every_pixel_and_are_half_fisheyes() -> None:
    pose = look_at(torch.tensor([3.0, 0.0, 1.0]), torch.zeros(3)).expand(400, 2, 4, 4)
    fov = torch.linspace(40, 90, 400)[:, None].expand(400, 2)
    pinholes = Cameras.from_fov(pose, fov, (16, 16))
    drawn = with_lenses(pinholes, 3, list(range(400)), 0.5)
    assert drawn.lens is not None and bool(lens_mask(drawn).all())
    kinds = drawn.lens.kind[:, 0].bincount(minlength=3).tolist()
    assert 160 < kinds[LensKind.PINHOLE] < 240 and 70 < kinds[LensKind.OPENCV] < 130
    part = with_lenses(pinholes[30:40], 3, list(range(30, 40)), 0.5)
    assert torch.equal(part.K, drawn.K[30:40]), "whatever the batch"
    assert with_lenses(pinholes, 3, list(range(400)), 0.0) is pinholes
    straight = drawn.lens.kind == LensKind.PINHOLE
    assert torch.equal(drawn.K[straight], pinholes.K[straight])


def test_a_bulged_image_ends_where_the_pinholes_did() -> None:
    pinhole = replace(Cameras.from_fov(torch.eye(4)[None], 60.0, (64, 64)), lens=None)
    for seed in range(20):
        bent = bulged(np.random.default_rng(seed), pinhole)
        assert bent.lens is not None
        centered = bent.lens.coefficients.clone()
        centered[:, 2:4] = 0
        bent = replace(bent, lens=replace(bent.lens, coefficients=centered))
        corner = torch.tensor([[[0.57735, 0.57735, 1.0]]])
        assert torch.allclose(project(bent, corner)[0], torch.full((1, 1, 2), 64.0), atol=1e-3)


def test_a_fisheye_spans_the_angle_drawn() -> None:
    pinhole = Cameras.from_fov(torch.eye(4)[None], 60.0, (64, 64))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        half = np.radians(np.random.default_rng(seed).uniform(100, 180) / 2)
        uv, _ = project(fisheye(rng, pinhole), torch.tensor([[[np.sin(half), 0.0, np.cos(half)]]]).float())
        assert torch.allclose(uv, torch.tensor([64.0, 32.0]), atol=1e-3)
