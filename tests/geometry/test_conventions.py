"""Changes of axes and of color encoding."""

import torch

from geometry.conventions import (
    gltf_from_world,
    linear_from_srgb,
    opencv_from_opengl,
    srgb_from_linear,
    world_from_gltf,
)


def test_up_is_y_and_the_change_is_a_rotation_in_gltf() -> None:
    basis = gltf_from_world(torch.eye(3))
    assert torch.equal(basis[2], torch.tensor([0.0, 1.0, 0.0]))
    assert torch.linalg.det(basis) == 1
    points = torch.randn(7, 3)
    assert torch.equal(world_from_gltf(gltf_from_world(points)), points)


def test_opengl_camera_looks_along_minus_z_and_the_change_is_its_own_inverse() -> None:
    pose = torch.randn(2, 5, 4, 4)
    changed = opencv_from_opengl(pose)
    assert torch.equal(changed[..., :3, 2], -pose[..., :3, 2])
    assert torch.equal(changed[..., :3, 0], pose[..., :3, 0])
    assert torch.equal(changed[..., :3, 3], pose[..., :3, 3])
    assert torch.equal(opencv_from_opengl(changed), pose)


def test_srgb_and_linear_light_are_inverse_and_agree_with_the_standards_middle_gray() -> None:
    color = torch.linspace(0, 1, 256, dtype=torch.float64)
    light = linear_from_srgb(color)
    assert (srgb_from_linear(light) - color).abs().max() < 1e-7  # the standard's rounded constants allow no better
    assert abs(float(linear_from_srgb(torch.tensor(0.5, dtype=torch.float64))) - 0.21404114) < 1e-7
    assert bool((light[1:] > light[:-1]).all()) and light[0] == 0 and light[-1] == 1
