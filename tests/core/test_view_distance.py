"""How far apart cameras are, and which of them are far from each other."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at, rotation_about
from geometry.trajectory.paths import orbit
from worldgen.core.view_distance import (
    angle_plus_distance,
    attention_distances,
    farthest_first,
    nearest_camera,
    overlap,
    spread_order,
    squared_distances,
)

SIZE = 16


def ring_cameras(azimuths_deg: list[float], radius: float = 3.0) -> Cameras:
    """Cameras [1, f] on a circle about the origin, looking at it."""
    angle = torch.deg2rad(torch.tensor(azimuths_deg))
    eyes = radius * torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.5)], -1)
    return Cameras.from_fov(look_at(eyes, torch.zeros(3))[None], 50.0, (SIZE, SIZE))


def test_a_camera_is_nearest_to_itself_and_enlarging_the_world_changes_nothing() -> None:
    cameras = ring_cameras([0, 25, 90, 200])
    target = ring_cameras([70])[:, 0]
    for i in range(4):
        assert nearest_camera(cameras[:, i], cameras).tolist() == [i]
    for factor in (0.01, 1.0, 100.0):
        assert nearest_camera(target.scaled(factor), cameras.scaled(factor)).tolist() == [2]


def test_in_one_place_the_direction_decides_and_in_one_direction_the_place() -> None:
    up = torch.tensor([0.0, 0.0, 1.0])
    turns = torch.eye(4).repeat(3, 1, 1)
    turns[:, :3, :3] = (
        rotation_about(up.expand(3, 3), torch.tensor([0.0, 0.5, 0.2])) @ look_at(up, torch.zeros(3))[:3, :3]
    )
    moves = torch.eye(4).repeat(3, 1, 1)
    moves[:, 0, 3] = torch.tensor([0.0, -2.0, 1.0])
    for pose in (moves, torch.linalg.inv(look_at(torch.ones(3), torch.zeros(3))) @ moves):
        cameras = Cameras.from_fov(pose, 50.0, (SIZE, SIZE))
        assert int(nearest_camera(cameras[0], cameras[1:])) == 1
    tilted = turns.clone()
    tilted[:, :3, :3] = rotation_about(torch.tensor([1.0, 0.0, 0.0]).expand(3, 3), torch.tensor([0.0, 0.5, 0.2]))
    cameras = Cameras.from_fov(tilted, 50.0, (SIZE, SIZE))
    assert int(nearest_camera(cameras[0], cameras[1:])) == 1


def test_each_next_given_image_is_the_farthest_from_those_before() -> None:
    angle = torch.rand(12) * 5
    pose = orbit(torch.zeros(3), 2.0, 20.0, 12)
    cameras = Cameras.from_fov(pose[angle.argsort()], 50.0, (16, 16))
    order = spread_order(cameras)
    assert sorted(order) == list(range(12))
    distance = torch.stack([squared_distances(cameras[i], cameras) for i in range(12)])
    for k in range(1, 12):
        rest = order[k:]
        near = distance[order[:k]].amin(0)
        assert float(near[order[k]]) == float(near[rest].max())


def test_the_first_four_of_a_circle_are_its_quarters() -> None:
    order = spread_order(Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 16), 50.0, (16, 16)))
    assert sorted(i % 4 for i in order[:4]) == [order[0] % 4] * 4


def test_the_order_of_the_files_only_breaks_ties() -> None:
    eyes = torch.randn(9, 3)
    pose = torch.eye(4).repeat(9, 1, 1)
    pose[:, :3, 3] = eyes
    mixed = torch.randperm(9)
    cameras = Cameras.from_fov(pose, 50.0, (16, 16))
    assert [int(mixed[i]) for i in spread_order(cameras[mixed])] == spread_order(cameras)


def test_every_measure_orders_cameras_on_a_circle_by_the_angle_between_them() -> None:
    cameras = ring_cameras([0, 10, 30, 70, 150])
    known = torch.ones(1, dtype=torch.bool)
    for distance in (
        angle_plus_distance(cameras[0], cameras[0], 3.0)[0],
        squared_distances(cameras[:, 0], cameras)[0],
        attention_distances(cameras, cameras, known)[0, 0],
    ):
        assert bool((distance.diff() > 0).all()) and float(distance[0]) == pytest.approx(0, abs=1e-3)


def test_attention_distance_adds_seconds_and_without_known_cameras_is_seconds_alone() -> None:
    cameras = ring_cameras([0, 10, 30])
    later = Cameras(cameras.world_from_camera, cameras.K, cameras.hw, time_s=torch.tensor([[0.0, 2.0, 0.5]]))
    known, unknown = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
    still, moving = (attention_distances(c, c, known) for c in (cameras, later))
    assert torch.allclose((moving - still)[0, 0], torch.tensor([0.0, 2.0, 0.5]), atol=1e-6)
    assert torch.allclose(attention_distances(later, later, unknown)[0, 0], torch.tensor([0.0, 2.0, 0.5]))


def test_farthest_first_takes_each_once_even_where_several_are_in_one_place() -> None:
    place = torch.tensor([0.0, 0.0, 5.0, 0.0, 9.0])
    distance = (place[:, None] - place).abs()
    assert farthest_first(distance, 3) == [0, 4, 2]
    assert farthest_first(distance, 99, first=2) == [2, 0, 4, 1, 3]


def test_distances_between_centers_are_in_scene_scales_and_angles_in_radians() -> None:
    """Two cameras half a radian and 6 units apart, of a scene scale of 4 and of their own."""
    turn = torch.eye(4).repeat(2, 1, 1)
    turn[1, :3, :3], turn[1, 0, 3] = rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(0.5)), 6.0
    cameras = Cameras.from_fov(turn, 50.0, (SIZE, SIZE))
    assert float(angle_plus_distance(cameras[:1], cameras[1:], 4.0)) == pytest.approx(0.5 + 1.5, abs=1e-5)
    ring = ring_cameras([0, 90], radius=3.0)  # they look at the origin from sqrt(11.25) away, which is their scale
    turned = math.acos(2.25 / 11.25)  # forward vectors are (-3, 0, -1.5) and (0, -3, -1.5) over that length
    for factor in (1.0, 50.0):
        found = squared_distances(ring[:, 0].scaled(factor), ring[:, 1:].scaled(factor))
        assert float(found) == pytest.approx(turned**2 + 18 / 11.25, rel=1e-3)


def test_attention_distance_is_scene_scales_plus_radians() -> None:
    pose = torch.eye(4).repeat(3, 1, 1)
    for n, angle in enumerate((0.0, 1.0, 3.0)):
        pose[n, :3, :3] = rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(angle))
        pose[n, 1, 3] = 2.0 * n
    cameras = Cameras.from_fov(pose[None], 50.0, (SIZE, SIZE))
    found = attention_distances(cameras, cameras, torch.ones(1, dtype=torch.bool))[0, 0]
    assert torch.allclose(found, torch.tensor([0.0, 2 + 1.0, 4 + 3.0]), atol=1e-4)


def test_overlap_is_whole_with_itself_and_nothing_from_the_other_side() -> None:
    """Two cameras 2 apart that face each other see the same place from opposite sides."""
    facing = ring_cameras([0.0, 180.0, 20.0], radius=1.0)[0]
    shared = overlap(facing, 1.0)
    assert torch.allclose(shared.diagonal(), torch.ones(3), atol=1e-5)
    axes = facing.forward @ facing.forward.T
    assert float(axes[0, 1]) < -0.5 and float(shared[0, 1]) == float(shared[1, 0]) == 0
    assert 0.2 < float(shared[0, 2]) < float(axes[0, 2])
