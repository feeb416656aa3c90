"""Rigid motions."""

import math

import pytest
import torch
from safetensors.torch import load_file

from geometry.conventions import world_from_gltf
from geometry.errors import InputError
from geometry.rotation.transforms import invert_rigid, look_at, rigid, rotation_about, transform_points


def test_exponential_of_so3_agrees_with_pytorch3d(shared) -> None:
    golden = load_file(shared / "golden/rotations.safetensors")
    vector = golden["so3_exp_input"]
    vector, expected = vector[vector.norm(dim=-1) > 0], golden["so3_exp"][vector.norm(dim=-1) > 0]
    assert len(vector) > 20
    assert (rotation_about(vector, vector.norm(dim=-1)) - expected).abs().max() < 1e-12


def test_look_at_agrees_with_pytorch3d_once_its_axes_are_ours(shared) -> None:
    golden = load_file(shared / "golden/rotations.safetensors")
    distance, elevation, azimuth = golden["look_at_dist_elev_azim_deg"].double().unbind(-1)
    e, a = elevation.deg2rad(), azimuth.deg2rad()
    eye = distance[:, None] * torch.stack([e.cos() * a.sin(), e.sin(), e.cos() * a.cos()], -1)  # y up
    pose = look_at(world_from_gltf(eye), torch.zeros(3, dtype=torch.float64))
    # PyTorch3D: row vectors and camera axes x left, y up, so the columns of R are the camera's axes in the world.
    axes = world_from_gltf((golden["look_at_R"].double() * torch.tensor([-1.0, -1.0, 1.0])).mT).mT
    assert (pose[:, :3, :3] - axes).abs().max() < 1e-6
    center = -(golden["look_at_R"].double() @ golden["look_at_T"].double()[..., None])[..., 0]
    assert (pose[:, :3, 3] - world_from_gltf(center)).abs().max() < 1e-6


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
def test_inverse_undoes_a_rigid_motion_for_any_batch_shape(batch) -> None:
    rotation = rotation_about(torch.randn((*batch, 3), dtype=torch.float64), torch.randn(batch, dtype=torch.float64))
    motion = rigid(rotation, torch.randn(*batch, 3, dtype=torch.float64))
    points = torch.randn(*batch, 6, 3, dtype=torch.float64)
    back = transform_points(invert_rigid(motion), transform_points(motion, points))
    assert back.shape == points.shape
    assert torch.allclose(back, points, atol=1e-12)


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -2, 1e-4), (1e-9, 0, 5), (-3, 2, 1)])
def test_look_at_is_a_rotation_with_its_axis_through_the_target_even_straight_up(direction) -> None:
    eye = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
    pose = look_at(eye, eye + torch.tensor(direction, dtype=torch.float64))
    rotation = pose[:3, :3]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert math.isclose(float(torch.linalg.det(rotation)), 1, abs_tol=1e-9)
    forward = torch.nn.functional.normalize(torch.tensor(direction, dtype=torch.float64), dim=0)
    assert (rotation[:, 2] - forward).abs().max() < 1e-9
    assert rotation[2, 1] <= 1e-9  # the image's down never points up


def test_look_at_the_camera_s_own_position_is_refused() -> None:
    with pytest.raises(InputError, match="coincides"):
        look_at(torch.ones(2, 3), torch.ones(3))
