"""Which way is up, from cameras held about level; of real captures, against what is known of them."""

import math
from pathlib import Path

import pytest
import torch

from geometry.io.captures.colmap import read_colmap
from geometry.io.captures.nerfstudio import read_transforms
from geometry.rotation.transforms import rigid, rotation_about
from geometry.trajectory.paths import orbit
from geometry.trajectory.up import estimate_up, level_from_world, parse_up

Z = torch.tensor([0.0, 0.0, 1.0]).double()


def angle_deg(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, float(a @ b / a.norm() / b.norm())))))


def turned(poses: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses in a world turned somehow, and up there."""
    chance = torch.Generator().manual_seed(seed)
    axis = torch.randn(3, generator=chance, dtype=torch.float64)
    turn = rotation_about(axis, 3 * torch.rand((), generator=chance, dtype=torch.float64))
    return rigid(turn, torch.zeros(3).double()) @ poses, turn @ Z


@pytest.mark.parametrize("elevation", [-50.0, 0.0, 20.0, 70.0])
@pytest.mark.parametrize("arc", [40.0, 120.0, 360.0])
def test_up_of_level_cameras_is_found_in_any_world_at_any_pitch(elevation: float, arc: float) -> None:
    poses = orbit(torch.tensor([1.0, 2, 3]).double(), 3.0, elevation, 12, arc_deg=arc)
    for seed in range(5):
        world, up = turned(poses, seed)
        found = estimate_up(world)
        assert found.certain and angle_deg(found.direction, up) < 1e-3
        assert found.off_z_deg == pytest.approx(angle_deg(up, Z), abs=1e-3)
        assert found.is_z == (found.off_z_deg <= 10)


def test_hands_that_shake_and_a_few_images_on_their_side_tilt_it_little() -> None:
    poses = orbit(torch.zeros(3).double(), 3.0, 25.0, 24)
    roll = torch.randn(24, generator=torch.Generator().manual_seed(1)).double() * math.radians(5)
    roll[3], roll[11] = math.pi / 2, -math.pi / 2  # two taken upright with a phone that lies
    poses = poses @ torch.stack([rigid(rotation_about(Z, angle), torch.zeros(3).double()) for angle in roll])
    world, up = turned(poses, 0)
    assert angle_deg(estimate_up(world).direction, up) < 3


def test_cameras_that_look_one_way_say_their_own_up() -> None:
    poses = orbit(torch.zeros(3).double(), 3.0, 35.0, 1).repeat(4, 1, 1)
    poses[:, 0, 3] += torch.arange(4)
    found = estimate_up(poses)
    assert not found.certain and found.off_z_deg == pytest.approx(35) and found.is_z, "a pitch that +z explains"
    world, up = turned(poses, 3)
    there = estimate_up(world)
    assert angle_deg(there.direction, up) == pytest.approx(35, abs=1e-3) and not there.is_z
    assert not estimate_up(poses[:1]).certain and estimate_up(poses[:1]).is_z


def test_cameras_held_in_every_way_say_nothing() -> None:
    chance = torch.Generator().manual_seed(0)
    poses = orbit(torch.zeros(3).double(), 3.0, 35.0, 40)
    roll = 2 * math.pi * torch.rand(40, generator=chance, dtype=torch.float64)
    poses = poses @ torch.stack([rigid(rotation_about(Z, angle), torch.zeros(3).double()) for angle in roll])
    found = estimate_up(poses)
    assert not found.certain and found.is_z and torch.equal(found.direction, Z)


def test_real_captures_are_upright_again(shared: Path) -> None:
    fox = estimate_up(read_transforms(shared / "data/fox/transforms.json").cameras.world_from_camera)
    assert fox.certain and fox.off_z_deg < 6.5 and fox.is_z, "z is up there, as its SOURCE.md says"
    lego = estimate_up(read_transforms(shared / "data/nerf_lego/transforms_train.json").cameras.world_from_camera)
    assert lego.certain and lego.off_z_deg < 0.1
    head = read_colmap(shared / "data/colmap_ethiopian_head/sparse", need_images=False).images.cameras
    found = estimate_up(head.world_from_camera)
    centers = head.centers - head.centers.mean(0)
    axis = torch.linalg.eigh(centers.T @ centers).eigenvectors[:, 0]  # of the table that the head turned on
    assert found.certain and found.off_z_deg == pytest.approx(116.2, abs=1)
    assert angle_deg(found.direction, axis if float(axis @ found.direction) > 0 else -axis) < 2


def test_up_is_given_as_an_axis_or_numbers(refused) -> None:
    assert parse_up("auto") is None
    for text, expected in (
        ("+z", [0, 0, 1]), ("z", [0, 0, 1]), ("-y", [0, -1, 0]), ("0,-2,0", [0, -1, 0]), ("-1 0 0", [-1, 0, 0]),
        ([0, 0, 5], [0, 0, 1]), (torch.tensor([0, 3.0, 4]), [0, 0.6, 0.8]),
    ):  # fmt: skip
        found = parse_up(text)
        assert found is not None and found.tolist() == pytest.approx(expected), text
    for bad in ("", "w", "1,2", "1,2,x", "0,0,0", "nan,0,0", [1, 2], "--z"):
        with refused("up", "expected auto"):
            parse_up(bad)


def test_the_least_rotation_takes_up_to_z(refused) -> None:
    for up in (Z, -Z, torch.tensor([0.6, 0, 0.8], dtype=torch.float64), torch.tensor([0, 1.0, 0]).double()):
        turn = level_from_world(up)
        assert torch.allclose(turn @ up, Z) and torch.allclose(turn @ turn.mT, torch.eye(3).double(), atol=1e-12)
        assert float(torch.linalg.det(turn)) == pytest.approx(1)
    assert torch.equal(level_from_world(Z), torch.eye(3).double())
    with refused("0 cameras"):
        estimate_up(torch.zeros(0, 4, 4))
