"""Rigid motions as 4x4 matrices acting on column vectors."""

import torch

from geometry.errors import InputError
from geometry.shapes import Float


def rigid(
    rotation: Float[torch.Tensor, "*b 3 3"], translation: Float[torch.Tensor, "*b 3"]
) -> Float[torch.Tensor, "*b 4 4"]:
    """The 4x4 matrix of x -> rotation @ x + translation."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def invert_rigid(transform: Float[torch.Tensor, "*b 4 4"]) -> Float[torch.Tensor, "*b 4 4"]:
    """The inverse of a rigid motion, exact in its rotation: [R t]^-1 = [R^T, -R^T t]."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:]).squeeze(-1))


def transform_points(
    transform: Float[torch.Tensor, "*b 4 4"], points: Float[torch.Tensor, "*b n 3"]
) -> Float[torch.Tensor, "*b n 3"]:
    """Apply one rigid motion per batch element to its n points."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def cross_matrix(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """The matrix [v]x with [v]x w = v x w."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def rotation_about(
    axis: Float[torch.Tensor, "*b 3"], angle_rad: Float[torch.Tensor, "*b"]
) -> Float[torch.Tensor, "*b 3 3"]:
    """Rotation by an angle about an axis of any length but zero (Rodrigues' formula)."""
    cross = cross_matrix(torch.nn.functional.normalize(axis, dim=-1))
    sine, cosine = angle_rad.sin()[..., None, None], angle_rad.cos()[..., None, None]
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + sine * cross + (1 - cosine) * cross @ cross


def look_at(eye: Float[torch.Tensor, "*#b 3"], target: Float[torch.Tensor, "*#b 3"]) -> Float[torch.Tensor, "*b 4 4"]:
    """`world_from_camera` at `eye`, optical axis through `target`, no roll (image's up is world z, metres).

    Looking straight up or down has no such roll: there the image's up is world y.

    Raises InputError when an eye coincides with its target.
    """
    eye, target = torch.broadcast_tensors(eye, target)
    forward = target - eye
    if bool((forward.norm(dim=-1) < 1e-9).any()):
        raise InputError("look_at: a camera's eye coincides with its target; expected two different points")
    forward = torch.nn.functional.normalize(forward, dim=-1)
    up = torch.zeros_like(forward)
    vertical = forward[..., 2].abs() > 1 - 1e-6
    up[..., 1], up[..., 2] = vertical.to(up.dtype), (~vertical).to(up.dtype)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    return rigid(torch.stack([right, down, forward], -1), eye)
