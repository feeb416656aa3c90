"""Rigid motions as 4x4 matrices acting on column vectors."""

import torch

from geometry.errors import InputError
from geometry.shapes import Float


def rigid(
    rotation: Float[torch.Tensor, "*b 3 3"], translation: Float[torch.Tensor, "*b 3"]
) -> Float[torch.Tensor, "*b 4 4"]:
    """The matrices of x -> rotation @ x + translation.

    Args:
        rotation: Rotation matrices [*b, 3, 3].
        translation: Translations [*b, 3].

    Returns:
        Rigid motions [*b, 4, 4].
    """
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def invert_rigid(transform: Float[torch.Tensor, "*b 4 4"]) -> Float[torch.Tensor, "*b 4 4"]:
    """The inverses of rigid motions, exact in their rotations: [R t]^-1 = [R^T, -R^T t].

    Args:
        transform: Rigid motions [*b, 4, 4].

    Returns:
        Rigid motions [*b, 4, 4].
    """
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:]).squeeze(-1))


def transform_points(
    transform: Float[torch.Tensor, "*b 4 4"], points: Float[torch.Tensor, "*b n 3"]
) -> Float[torch.Tensor, "*b n 3"]:
    """Points moved by rigid motions.

    Args:
        transform: Rigid motions [*b, 4, 4].
        points: n points for each motion [*b, n, 3].

    Returns:
        The points moved [*b, n, 3].
    """
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def cross_matrix(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """The matrix [v]x with [v]x w = v x w."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def rotation_about(
    axis: Float[torch.Tensor, "*b 3"], angle_rad: Float[torch.Tensor, "*b"]
) -> Float[torch.Tensor, "*b 3 3"]:
    """Rotations by angles about axes (Rodrigues' formula).

    Args:
        axis: Axes [*b, 3] of any length but zero.
        angle_rad: Angles [*b] in radians.

    Returns:
        Rotation matrices [*b, 3, 3].
    """
    cross = cross_matrix(torch.nn.functional.normalize(axis, dim=-1))
    sine, cosine = angle_rad.sin()[..., None, None], angle_rad.cos()[..., None, None]
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + sine * cross + (1 - cosine) * cross @ cross


def look_at(eye: Float[torch.Tensor, "*#b 3"], target: Float[torch.Tensor, "*#b 3"]) -> Float[torch.Tensor, "*b 4 4"]:
    """Poses of cameras without roll: up in the image is the world's z, or its y if a camera looks straight up or down.

    Args:
        eye: Camera centers [*b, 3] in metres.
        target: What the cameras look at [*b, 3] in metres.

    Returns:
        `world_from_camera` [*b, 4, 4].

    Raises:
        InputError: If an eye is at its target.
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
