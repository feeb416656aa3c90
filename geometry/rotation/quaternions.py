"""Unit quaternions (w, x, y, z): rotations in files, and between which others are interpolated."""

import math

import torch

from geometry.shapes import Float


def matrix_from_quaternion_wxyz(quaternion: Float[torch.Tensor, "*b 4"]) -> Float[torch.Tensor, "*b 3 3"]:
    """Rotation matrices of quaternions; q and -q are the same rotation.

    Args:
        quaternion: (w, x, y, z) [*b, 4], of any length but zero.

    Returns:
        Rotation matrices [*b, 3, 3].
    """
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def quaternion_wxyz_from_matrix(rotation: Float[torch.Tensor, "*b 3 3"]) -> Float[torch.Tensor, "*b 4"]:
    """Unit quaternions of rotation matrices (Shepperd 1978).

    Args:
        rotation: Rotation matrices [*b, 3, 3].

    Returns:
        (w, x, y, z) [*b, 4] of unit length with w >= 0.
    """
    # Every column is a multiple of the quaternion; the longest one is the most accurate.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotation.unbind(-2))
    columns = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, zy - yz, xz - zx, yx - xy], -1),
            torch.stack([zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx], -1),
            torch.stack([xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy], -1),
            torch.stack([yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    longest = columns.diagonal(dim1=-2, dim2=-1).argmax(-1)
    column = columns.gather(-2, longest[..., None, None].expand(*longest.shape, 1, 4)).squeeze(-2)
    column = torch.nn.functional.normalize(column, dim=-1)
    return torch.where(column[..., :1] < 0, -column, column)


def slerp(
    start: Float[torch.Tensor, "*b 4"], end: Float[torch.Tensor, "*b 4"], share: Float[torch.Tensor, "*b"]
) -> Float[torch.Tensor, "*b 4"]:
    """From one unit quaternion to another at constant speed along the shorter arc (Shoemake 1985).

    Args:
        start: Unit quaternions [*b, 4].
        end: Unit quaternions [*b, 4].
        share: How far to go [*b]: 0 is the start, 1 the end.

    Returns:
        Unit quaternions [*b, 4].
    """
    cosine = (start * end).sum(-1, keepdim=True)
    end = torch.where(cosine < 0, -end, end)
    cosine = cosine.abs()
    # Below a hundredth of a radian the chord differs from the arc by less than float32 resolves; and at an angle of 0
    # the arc cosine has no gradient.
    small = cosine > math.cos(1e-2)
    angle = torch.where(small, 0.0, cosine).acos()
    share = share[..., None]
    first = torch.where(small, 1 - share, ((1 - share) * angle).sin() / angle.sin())
    second = torch.where(small, share, (share * angle).sin() / angle.sin())
    return torch.nn.functional.normalize(first * start + second * end, dim=-1)
