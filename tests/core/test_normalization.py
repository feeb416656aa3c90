"""The normalization: a reference camera and a scale, and back."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project
from geometry.errors import InputError
from geometry.rotation.transforms import rigid, rotation_about
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.core.normalization import (
    Normalization,
    require_scene_scale,
    scene_scale,
    scene_scale_from_cameras,
)


def ring_of(radius: float, elevation_deg: float = 20.0, frames: int = 6, arc_deg: float = 360.0) -> Cameras:
    pose = orbit(torch.tensor([1.0, -2.0, 0.7]), radius, elevation_deg, frames, 30.0, arc_deg)
    return Cameras.from_fov(pose, 50.0, (16, 16))


def test_normalized_the_first_camera_is_the_origin_and_a_scale_is_one_unit() -> None:
    cameras = ring_of(3.0)
    seen = Normalization.of(cameras, torch.tensor(3.0)).normalize(cameras)
    pivot = project(seen, torch.tensor([0.0, 0.0, 1.0]).expand(6, 1, 3))
    assert torch.allclose(seen.world_from_camera[0], torch.eye(4), atol=1e-6)
    assert torch.allclose(pivot[0], torch.tensor(8.0), atol=1e-4)  # one unit ahead of the first is the pivot of all
    assert torch.allclose(pivot[1], torch.tensor(1.0), atol=1e-5)


def test_the_normalization_does_not_depend_on_the_world_s_frame_or_unit() -> None:
    cameras = ring_of(3.0)
    motion = rigid(rotation_about(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(0.8)), torch.tensor([4.0, -5.0, 6.0]))
    moved = cameras.moved(motion).scaled(2.5)
    first, second = (
        Normalization.of(c, scene_scale_from_cameras(c)).normalize(c).world_from_camera for c in (cameras, moved)
    )
    assert torch.allclose(first, second, atol=1e-5)


def test_each_clip_of_a_batch_has_its_own_normalization() -> None:
    parts = [ring_of(2.0), ring_of(5.0, elevation_deg=-10.0)]
    both = Cameras(torch.stack([p.world_from_camera for p in parts]), torch.stack([p.K for p in parts]), parts[0].hw)
    seen = Normalization.of(both, scene_scale_from_cameras(both)).normalize(both)
    for b, part in enumerate(parts):
        alone = Normalization.of(part, scene_scale_from_cameras(part)).normalize(part)
        assert torch.allclose(seen.world_from_camera[b], alone.world_from_camera, atol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 1.0, 40.0])
def test_depth_survives_the_signal_between_the_nearest_and_the_farthest(scale: float) -> None:
    normalization = Normalization(torch.eye(4), torch.tensor(scale))
    depth = scale * torch.logspace(math.log10(0.334), math.log10(49.0), 64).view(1, 1, 8, 8)
    assert torch.allclose(normalization.depth_from_signal(normalization.signal_from_depth(depth)), depth, rtol=1e-3)


def test_the_signal_is_minus_1_for_the_sky_0_at_one_scale_and_at_most_2() -> None:
    normalization = Normalization(torch.eye(4), torch.tensor(3.0))
    depth = torch.tensor([torch.inf, 6.0, 3.0, 1.0, 0.1]).view(1, 1, 1, 5)
    signal = normalization.signal_from_depth(depth)
    assert torch.allclose(signal.flatten(), torch.tensor([-1.0, -0.5, 0.0, 2.0, 2.0]))
    assert normalization.depth_from_signal(signal).flatten()[0] == torch.inf
    assert normalization.depth_from_signal(torch.full((1, 1, 1, 1), -1.2)).item() == torch.inf


def test_a_nearer_point_never_has_a_smaller_signal() -> None:
    depth = torch.logspace(-3, 4, 200).view(1, 1, 1, 200)
    signal = Normalization(torch.eye(4), torch.tensor(2.0)).signal_from_depth(depth).flatten()
    assert bool((signal.diff() <= 0).all()) and bool(signal.isfinite().all())


@pytest.mark.parametrize("radius", [0.5, 3.0, 100.0])
@pytest.mark.parametrize(("elevation", "arc"), [(0.0, 360.0), (35.0, 360.0), (-60.0, 360.0), (20.0, 40.0)])
def test_the_scale_of_an_exact_orbit_is_its_radius(radius: float, elevation: float, arc: float) -> None:
    cameras = ring_of(radius, elevation, arc_deg=arc)
    assert float(scene_scale_from_cameras(cameras)) == pytest.approx(radius, rel=1e-3)


def test_cameras_that_look_outwards_are_as_far_apart_as_their_scale_and_parallel_ones_a_twentieth() -> None:
    inward = ring_of(3.0, elevation_deg=0.0)
    about = rigid(rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(torch.pi)), torch.zeros(3))
    outward = Cameras(inward.world_from_camera @ about, inward.K, inward.hw)
    assert float(scene_scale_from_cameras(outward)) == pytest.approx(3.0, rel=1e-4)
    row = torch.eye(4).repeat(3, 1, 1)
    row[:, 0, 3] = torch.tensor([-1.0, 0.0, 1.0])
    sideways = Cameras.from_fov(row, 50.0, (4, 4))
    assert float(scene_scale_from_cameras(sideways)) == pytest.approx(20 * (2 / 3) ** 0.5, rel=1e-4)


def test_turning_two_cameras_towards_and_away_from_each_other_never_makes_the_scale_jump() -> None:
    angle = torch.linspace(-0.3, 0.3, 1201, dtype=torch.float64)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(1201, 3)
    left, right = (torch.tensor([x, 0.0, 0.0], dtype=torch.float64).expand(1201, 3) for x in (-1.0, 1.0))
    poses = torch.stack([rigid(rotation_about(up, angle), left), rigid(rotation_about(up, -angle), right)], 1)
    scale = scene_scale_from_cameras(Cameras.from_fov(poses, 50.0, (4, 4)))
    assert float(scale.log().diff().abs().max()) < 0.4, "a jump from the parallel rule to the spread is ln 20 = 3"
    assert float(scale[0]) == pytest.approx(1.0, rel=1e-5), "cameras that look away from each other: their spread"
    assert float(scale[-1]) == pytest.approx(1 / math.sin(0.3), rel=5e-3), "well-crossed axes: where they meet"


def test_cameras_in_one_place_have_no_scale() -> None:
    pose = torch.eye(4).repeat(3, 1, 1)
    with pytest.raises(InputError, match="one place"):
        require_scene_scale(Cameras.from_fov(pose, 50.0, (4, 4)))


def test_one_image_s_scale_is_the_25th_percentile_of_its_known_depth() -> None:
    depth = torch.zeros(1, 1, 1, 10, 12)
    depth.view(-1)[:101] = 1 + torch.arange(101.0)[torch.randperm(101)] / 10  # 1, 1.1 to 11: a quarter is below 3.5
    depth.view(-1)[101:110] = torch.inf
    camera = Cameras.from_fov(torch.eye(4)[None, None], 50.0, (10, 12))
    assert float(scene_scale(Clip(torch.rand(1, 1, 3, 10, 12), depth, camera))) == pytest.approx(3.5)
    still = Cameras.cat([camera, camera])  # two cameras in one place say no more
    frames = Clip(torch.rand(1, 2, 3, 10, 12), torch.cat([depth, 5 * depth], 1), still)
    assert float(scene_scale(frames)) == pytest.approx(3.5)
