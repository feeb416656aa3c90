"""How cameras stand to each other, and which of them are in the open."""

from dataclasses import replace

import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from tests.scenes.truth import scene_of
from worldgen.scenes.cameras.sampling import clear_of, fan
from worldgen.scenes.shapes import Shape


def ride(frames: int) -> Cameras:
    """Cameras [f] that ride along x and look along y, a tenth of a second apart."""
    eye = torch.stack([torch.arange(frames) * 0.5, torch.zeros(frames), torch.ones(frames)], -1)
    pose = look_at(eye, eye + torch.tensor([0.0, 1.0, -0.2]))
    return replace(Cameras.from_fov(pose, 50.0, (8, 8)), time_s=torch.arange(frames) / 10)


def test_each_run_of_a_rig_s_frames_is_of_one_moment_and_place_turned_to_both_sides() -> None:
    pose = ride(8)
    rig = fan(pose, 3, 30.0)
    assert rig.view.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    moment = [0, 0, 0, 3, 3, 3, 6, 6]
    assert torch.equal(rig.time_s, pose.time_s[moment])
    assert torch.allclose(rig.centers, pose.centers[moment])
    heading = torch.rad2deg(torch.atan2(rig.forward[:, 1], rig.forward[:, 0]))  # 90 is ahead, more is to the left
    assert torch.allclose(heading, torch.tensor([60.0, 90, 120] * 2 + [60, 90]), atol=1e-3)
    assert torch.allclose(rig.forward[:, 2], pose.forward[:, 2]), "about the vertical"


def test_cameras_are_in_the_open_outside_boxes_and_above_ground_by_the_margin() -> None:
    scene = scene_of([Shape.BOX], torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.5, 0.4]]))
    eye = torch.tensor([[1.25, 0, 1], [1.15, 0, 1], [0, 0.75, 1], [0, 0, 1.5], [0, 3, 0.1], [0, 3, 0.3], [0, 0, 1]])
    cameras = Cameras.from_fov(look_at(eye, eye + torch.tensor([0.0, 1, 0])), 50.0, (8, 8))
    assert clear_of(scene, cameras, 0.2).tolist() == [True, False, True, False, False, True, False]
