"""Recovered poses against known ones."""

import math

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from worldgen.evaluation.metrics.pose import find_poses, moved, perturbed, pose_errors
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

UP = torch.tensor([0.0, 0.0, 1.0])


def views(scenes: int, count: int, size_px: int = 64) -> Cameras:
    """Cameras [scenes, count] around a table."""
    angle = torch.rand(scenes, count) * 2 * math.pi
    eyes = torch.stack([3.2 * angle.cos(), 3.2 * angle.sin(), torch.full_like(angle, 1.3)], -1)
    return Cameras.from_fov(look_at(eyes, torch.tensor([0.0, 0.0, 0.25])), 50.0, (size_px, size_px))


def test_images_taken_elsewhere_measure_how_far() -> None:
    scene, requested = tabletop(0, [3], held_out=True), views(1, 1, 32)
    requested = Cameras.cat([requested] * 3)
    turns, shifts = (0.0, 1.0, 3.0), (0.0, 0.05, 0.15)
    directions = torch.randn(3, 2, 3)
    taken = Cameras.cat([perturbed(requested[:, i : i + 1], turns[i], shifts[i], directions[None, i : i + 1])
                         for i in range(3)])  # fmt: skip
    images = render(scene, taken, 2).rgb
    found, residual = find_poses(images, requested, lambda now: render(scene, now, 2).rgb, torch.full((1, 3), 3.2))
    rotation, translation = pose_errors(found, requested)
    assert torch.allclose(rotation[0], torch.tensor(turns), atol=0.1)
    assert torch.allclose(translation[0], torch.tensor(shifts), atol=0.01)
    assert float(residual.max()) < 0.01


@pytest.mark.slow
def test_the_floor_on_true_images_is_a_fraction_of_a_degree() -> None:
    scene, cameras = tabletop(0, list(range(8)), held_out=True), views(8, 2)
    start = perturbed(cameras, 2.0, 0.08, torch.randn(8, 2, 2, 3))

    def renderer(now: Cameras) -> torch.Tensor:
        return render(scene, now, 2).rgb

    found, _ = find_poses(render(scene, cameras, 2).rgb, start, renderer, torch.full((8, 2), 3.2))
    rotation, translation = pose_errors(found, cameras)
    assert float(rotation.median()) < 0.2 and float(translation.median()) < 0.01


def test_a_motion_turns_about_the_camera_and_shifts_along_its_axes() -> None:
    cameras = views(1, 2)
    turned = moved(cameras, torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0, 0.0]).expand(1, 2, 6), torch.ones(1, 2))
    assert torch.allclose(turned.centers, cameras.centers)
    assert torch.allclose(pose_errors(turned, cameras)[0], torch.full((1, 2), math.degrees(0.3)), atol=1e-3)
    ahead = moved(cameras, torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.1]).expand(1, 2, 6), torch.full((1, 2), 5.0))
    assert torch.allclose(ahead.centers, cameras.centers + 0.5 * cameras.forward, atol=1e-6)
