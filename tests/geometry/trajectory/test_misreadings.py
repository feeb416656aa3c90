"""Real captures, right and misread in every usual way: nothing is found in the first, each of the others is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.io.captures.posed import PosedImages
from geometry.io.formats import read
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import invert_rigid, rigid
from geometry.trajectory.checks import lint
from geometry.trajectory.misreadings import misreadings
from geometry.trajectory.paths import orbit

FORMATTED = {
    "fox": "fox/transforms.json", "lego": "nerf_lego/transforms_train.json", "head": "colmap_ethiopian_head",
    "nuscenes": "nuscenes_frame/sample.json", "ddad": "ddad_scene_a/scene.json",
    "kitti": "trajectories/kitti_00_first_half.txt", "tum": "trajectories/tum_fr1_xyz_groundtruth.txt",
    "tum estimate": "trajectories/tum_fr1_xyz_rgbdslam.txt", "realestate10k": "trajectories/realestate10k",
    "moves": "trajectories/synthetic_moves",
}  # fmt: skip
# Those whose cameras look about enough for poses to tell.
TELLING = ("fox", "lego", "head", "nuscenes", "ddad", "llff", "garden", "wrist", "kitti")


def flipped(*columns: list[int]) -> torch.Tensor:
    """New camera axes as columns of old ones."""
    return torch.block_diag(torch.tensor(columns).double().T, torch.ones(1, 1).double())


OPENGL, RAW_LLFF = flipped([1, 0, 0], [0, -1, 0], [0, 0, -1]), flipped([0, 1, 0], [1, 0, 0], [0, 0, -1])


def reordered(poses: torch.Tensor) -> torch.Tensor:
    """What a reader that takes w x y z for x y z w makes of poses."""
    wxyz = quaternion_wxyz_from_matrix(poses[:, :3, :3]).roll(1, -1)
    return rigid(matrix_from_quaternion_wxyz(wxyz), poses[:, :3, 3])


MISTAKES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[str, ...]]] = {
    "inverted": (invert_rigid, ("inverse poses",)),
    "OpenGL as OpenCV": (lambda poses: poses @ OPENGL, ("behind them", "upside down")),
    "raw LLFF axes": (lambda poses: poses @ RAW_LLFF, ("behind them", "quarter turn")),
    "raw LLFF axes as OpenGL": (lambda poses: poses @ RAW_LLFF @ OPENGL, ("quarter turn", "behind them")),
    "quaternions w first": (reordered, ("another order", "quarter turn")),
}


def captures(shared: Path) -> dict[str, torch.Tensor]:
    """The poses of every capture there is, as they should be."""
    data, found = shared / "data", {}
    for name, path in FORMATTED.items():
        whole = data / path
        for file in sorted(whole.glob("*.txt")) if whole.is_dir() and name != "head" else [whole]:
            value = read(file, "cameras", need_images=False, hw=(480, 640), fov_deg=50.0)
            if isinstance(value, PosedImages):
                poses = torch.stack([frame.world_from_camera for frame in value.frames])
            else:
                poses = value.world_from_camera
            found[name if file == whole else f"{name} {file.stem}"] = poses.double()
    rows = torch.from_numpy(np.load(data / "llff_mary_rose/poses_bounds.npy"))[:, :15].reshape(-1, 3, 5)
    found["llff"] = torch.eye(4).double().repeat(len(rows), 1, 1)
    found["llff"][:, :3] = rows[..., :4]
    found["llff"] = found["llff"] @ RAW_LLFF
    garden = json.loads((data / "garden_points/cameras.json").read_text())["cameras"]
    found["garden"] = invert_rigid(torch.tensor([camera["world2cam"] for camera in garden]).double())
    room = json.loads((data / "rgbd_room/frames.json").read_text())["frames"]
    found["room"] = torch.tensor([frame["cam2world"] for frame in room]).double()
    arm = json.loads((data / "robot_wrist_franka/frames.json").read_text())
    gripper = torch.tensor([frame["gripper2base"] for frame in arm["frames"]]).double()
    found["wrist"] = gripper @ torch.tensor(arm["cam2gripper_computed"]).double()
    return found


def test_nothing_is_found_in_real_captures(shared: Path) -> None:
    found = captures(shared)
    assert len(found) >= 20
    assert {name: misreadings(poses, name not in ("nuscenes", "ddad")) for name, poses in found.items()} == {
        name: [] for name in found
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_usual_misreading_of_real_captures_is_found(shared: Path, mistake: str) -> None:
    spoil, words = MISTAKES[mistake]
    unseen = {  # a level ring about its own origin stays one; eight poses of a hand tell no roll
        "raw LLFF axes as OpenGL": {"wrist"}, "quaternions w first": {"lego"},
    }.get(mistake, set())  # fmt: skip
    found = captures(shared)
    for name in set(TELLING) - unseen:
        said = misreadings(spoil(found[name]), name not in ("nuscenes", "ddad"))
        assert len(said) == 1 and any(word in said[0] for word in words), (name, said)


def around() -> Cameras:
    poses = orbit(torch.tensor([0.5, -0.2, 0.3]).double(), 3.0, 20.0, 12)
    return Cameras.from_fov(poses, 50.0, (48, 64))


def test_three_inverted_poses_are_found() -> None:
    for pivot in ((0.5, -0.2, 0.3), (0.0, 0.0, 0.0)):
        poses = orbit(torch.tensor(pivot).double(), 3.0, 20.0, 3)
        assert misreadings(poses, True) == [] and len(misreadings(invert_rigid(poses), True)) == 1, pivot


def test_two_poses_and_poses_in_one_direction_say_nothing() -> None:
    poses = orbit(torch.zeros(3).double(), 3.0, 20.0, 36)
    for spoil, _ in MISTAKES.values():
        assert misreadings(spoil(poses[:2]), True) == [] and misreadings(spoil(poses[:1]), True) == []


def test_a_pan_on_the_spot_is_no_inverted_orbit() -> None:
    pan = orbit(torch.zeros(3).double(), 3.0, 0.0, 12)
    pan[:, :3, 3] = torch.tensor([0, 0, 1.7])
    assert misreadings(pan, True) == []


def test_coordinates_that_float32_cannot_hold_are_found() -> None:
    utm = torch.tensor([512345.678, 5403210.987, 431.5]).double()
    cameras = around()
    far = replace(cameras, world_from_camera=cameras.world_from_camera.clone())
    far.world_from_camera[:, :3, 3] = far.world_from_camera[:, :3, 3] * 0.1 + utm
    assert [text for text in lint(far) if "float32" in text] == lint(far) != []
    near = replace(cameras, world_from_camera=cameras.world_from_camera.clone())
    near.world_from_camera[:, :3, 3] += torch.tensor([600.0, 1600.0, 0]).double()  # as nuScenes' maps
    assert lint(near) == []


def test_times_that_run_back_are_found_for_each_camera() -> None:
    cameras = around()

    def timed(times: list[float], views: list[int] | None = None) -> list[str]:
        view = cameras.view if views is None else torch.tensor(views)
        return lint(replace(cameras, time_s=torch.tensor(times).double(), view=view))

    ahead = [float(n) for n in range(12)]
    assert timed(ahead) == [] and timed([0.0] * 12) == []
    assert "times run back" in timed([*ahead[:6], *ahead[:6]])[0], "two clips"
    assert "times run back" in timed(ahead[::-1])[0]
    assert timed([*ahead[:6], *ahead[:6]], [0] * 6 + [1] * 6) == [], "two cameras"
    shuffled = [ahead[n * 5 % 12] for n in range(12)]
    assert timed(shuffled) == [], "a collection of photos"


def test_cameras_of_several_sizes_are_judged_together() -> None:
    cameras = around()
    parts = [cameras[:5], cameras[5:].resized((24, 32))]
    assert lint(parts) == []
    wrong = [replace(part, world_from_camera=invert_rigid(part.world_from_camera)) for part in parts]
    assert len(lint(wrong)) == 1 and "inverse" in lint(wrong)[0]
