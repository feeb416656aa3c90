"""Rotations and rigid motions as vectors: axis-angle, twists, six numbers, Euler angles.

All of them are differentiable except where the vector itself jumps: at half a turn for axis-angles and twists, at the
ends of the middle angle for Euler angles.
"""

from itertools import product

import torch

from geometry.errors import InputError
from geometry.rotation.quaternions import quaternion_wxyz_from_matrix
from geometry.rotation.transforms import cross_matrix, rigid
from geometry.shapes import Float

EULER_ORDERS = tuple("".join(o) for o in product("XYZ", repeat=3) if o[0] != o[1] != o[2])
_SMALL = 1e-3  # squared radians below which series are exact to rounding


def matrix_from_axis_angle(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """Rotations about vectors by their lengths: the exponential of so(3) (Rodrigues' formula).

    Args:
        vector: Axes times angles in radians [*b, 3].

    Returns:
        Rotation matrices [*b, 3, 3].
    """
    return _exponential(vector)[0]


def axis_angle_from_matrix(rotation: Float[torch.Tensor, "*b 3 3"]) -> Float[torch.Tensor, "*b 3"]:
    """The inverse of `matrix_from_axis_angle`.

    Args:
        rotation: Rotation matrices [*b, 3, 3].

    Returns:
        Axes times angles in radians [*b, 3], of length 0 to pi. Half a turn has two, of which this is one.
    """
    w, axis = quaternion_wxyz_from_matrix(rotation).split([1, 3], -1)
    squared = axis.square().sum(-1, keepdim=True)
    small = squared < _SMALL
    tangent = squared / torch.where(small, w, 1.0).square()  # of half the angle, squared
    series = 2 / torch.where(small, w, 1.0) * (1 - tangent / 3 + tangent**2 / 5 - tangent**3 / 7 + tangent**4 / 9)
    sine = torch.where(small, 1.0, squared).sqrt()
    return axis * torch.where(small, series, 2 * torch.atan2(sine, w) / sine)


def se3_exp(twist: Float[torch.Tensor, "*b 6"]) -> Float[torch.Tensor, "*b 4 4"]:
    """Rigid motions of twists: the exponential of se(3), a constant screw motion during one second.

    Blanco 2010, "A tutorial on SE(3) transformation parameterizations and on-manifold optimization", eq. 9.4.

    Args:
        twist: Translation (metres), then axis times angle (radians) [*b, 6].

    Returns:
        Rigid motions [*b, 4, 4].
    """
    rotation, along = _exponential(twist[..., 3:])
    return rigid(rotation, (along @ twist[..., :3, None])[..., 0])


def se3_log(motion: Float[torch.Tensor, "*b 4 4"]) -> Float[torch.Tensor, "*b 6"]:
    """The inverse of `se3_exp`, for rotations of less than half a turn (Blanco 2010, eq. 9.5).

    Args:
        motion: Rigid motions [*b, 4, 4].

    Returns:
        Translation (metres), then axis times angle (radians) [*b, 6].
    """
    vector = axis_angle_from_matrix(motion[..., :3, :3])
    along = _exponential(vector)[1]
    return torch.cat([torch.linalg.solve(along, motion[..., :3, 3:])[..., 0], vector], -1)


def _exponential(vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp([v]x), and the mean of exp(t [v]x) over t from 0 to 1."""
    squared = vector.square().sum(-1)[..., None, None]
    small = squared < _SMALL
    angle = torch.where(small, 1.0, squared).sqrt()
    first = torch.where(small, 1 - squared / 6 + squared**2 / 120 - squared**3 / 5040, angle.sin() / angle)
    half = (angle / 2).sin() / angle
    second = torch.where(small, 0.5 - squared / 24 + squared**2 / 720 - squared**3 / 40320, 2 * half.square())
    third = torch.where(
        small, 1 / 6 - squared / 120 + squared**2 / 5040 - squared**3 / 362880, (angle - angle.sin()) / angle**3
    )
    cross = cross_matrix(vector)
    twice, identity = cross @ cross, torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + first * cross + second * twice, identity + second * cross + third * twice


def matrix_from_6d(columns: Float[torch.Tensor, "*b 6"]) -> Float[torch.Tensor, "*b 3 3"]:
    """Rotations from two vectors by Gram-Schmidt (Zhou et al. 2019, eq. 15).

    A form without jumps, which networks learn well. PyTorch3D takes rows for what the paper calls columns: its six
    numbers are those of the inverse rotation.

    Args:
        columns: Two vectors of any length, not parallel [*b, 6].

    Returns:
        Rotation matrices [*b, 3, 3] whose first column has the direction of the first vector, and whose second column
        is as near to the second vector as it can be.
    """
    first = torch.nn.functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def six_d_from_matrix(rotation: Float[torch.Tensor, "*b 3 3"]) -> Float[torch.Tensor, "*b 6"]:
    """The inverse of `matrix_from_6d`: the first two columns, one after the other.

    Args:
        rotation: Rotation matrices [*b, 3, 3].

    Returns:
        Six numbers [*b, 6].
    """
    return rotation[..., :2].transpose(-1, -2).flatten(-2)


def matrix_from_euler(angles_rad: Float[torch.Tensor, "*b 3"], order: str = "XYZ") -> Float[torch.Tensor, "*b 3 3"]:
    """Rotations by Euler angles about moving axes: R = R_first R_second R_third.

    For fixed axes reverse the order and the angles.

    Args:
        angles_rad: Angles in radians [*b, 3], in the order of the axes.
        order: The axes, as "XYZ" or "ZXZ".

    Returns:
        Rotation matrices [*b, 3, 3].

    Raises:
        InputError: If the order is not three axes of which no two neighbors are the same.
    """
    _check(order)
    axes = torch.eye(3, dtype=angles_rad.dtype, device=angles_rad.device)
    first, second, third = (
        matrix_from_axis_angle(angle[..., None] * axes["XYZ".index(name)])
        for angle, name in zip(angles_rad.unbind(-1), order)
    )
    return first @ second @ third


def euler_from_matrix(rotation: Float[torch.Tensor, "*b 3 3"], order: str = "XYZ") -> Float[torch.Tensor, "*b 3"]:
    """The inverse of `matrix_from_euler`.

    Bernardes and Viollet 2022, "Quaternion to Euler angles conversion", algorithm 1.

    Args:
        rotation: Rotation matrices [*b, 3, 3].
        order: The axes, as "XYZ" or "ZXZ".

    Returns:
        Angles in radians [*b, 3]. The middle one is in -pi/2..pi/2, or in 0..pi where the first axis is also the last.
        In gimbal lock, where only the sum or difference of the outer angles is fixed, the last one is 0.

    Raises:
        InputError: If the order is not three axes of which no two neighbors are the same.
    """
    _check(order)
    k, j, i = ("XYZ".index(name) for name in order)  # the paper's axes are fixed ones: the last turn comes first
    same = i == k
    k = 3 - i - j if same else k
    sign = (i - j) * (j - k) * (k - i) // 2
    quaternion = quaternion_wxyz_from_matrix(rotation)
    w, x, y, z = quaternion[..., 0], quaternion[..., 1 + i], quaternion[..., 1 + j], sign * quaternion[..., 1 + k]
    a, b, c, d = (w, x, y, z) if same else (w - y, x + z, y + w, z - x)
    middle = 2 * torch.atan2(torch.hypot(c, d), torch.hypot(a, b))
    plus, minus = torch.atan2(b, a), torch.atan2(d, c)
    flat = torch.hypot(c, d) < 1e-9 * torch.hypot(a, b)
    upright = torch.hypot(a, b) < 1e-9 * torch.hypot(c, d)
    first = torch.where(flat | upright, 0.0, plus - minus)
    third = torch.where(flat, 2 * plus, torch.where(upright, 2 * minus, plus + minus))
    if not same:
        middle, third = middle - torch.pi / 2, sign * third
    outer = [torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi for angle in (third, first)]
    return torch.stack([outer[0], middle, outer[1]], -1)


def _check(order: str) -> None:
    if order not in EULER_ORDERS:
        raise InputError(f"Euler angles in the order {order!r}; expected one of {', '.join(EULER_ORDERS)}")
