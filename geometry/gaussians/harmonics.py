"""Real spherical harmonics: colors that depend on the direction they are seen from, and how they rotate.

The basis is that of 3D Gaussian splatting (Kerbl et al. 2023) and its files: orthonormal, degree by degree, orders -l
to l within a degree, with the Condon-Shortley phase.
"""

import math

import torch

from geometry.errors import InputError
from geometry.shapes import Float

COUNTS = (1, 4, 9, 16)  # functions up to degree 0, 1, 2 and 3
CONSTANT = 0.5 / math.sqrt(math.pi)  # the function of degree 0


def harmonic_basis(directions: Float[torch.Tensor, "*n 3"], degree: int) -> Float[torch.Tensor, "*n k"]:
    """The k = (degree + 1)^2 functions at directions of any length but zero (Sloan 2008, appendix A2); degree <= 3."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z

    def root(over_pi: float) -> float:
        return math.sqrt(over_pi / math.pi)

    functions = [torch.full_like(x, root(1 / 4))]
    if degree >= 1:
        functions += [-root(3 / 4) * y, root(3 / 4) * z, -root(3 / 4) * x]
    if degree >= 2:
        functions += [root(15 / 4) * x * y, -root(15 / 4) * y * z, root(5 / 16) * (2 * zz - xx - yy)]
        functions += [-root(15 / 4) * x * z, root(15 / 16) * (xx - yy)]
    if degree >= 3:
        functions += [-root(35 / 32) * y * (3 * xx - yy), root(105 / 4) * x * y * z]
        functions += [-root(21 / 32) * y * (4 * zz - xx - yy), root(7 / 16) * z * (2 * zz - 3 * xx - 3 * yy)]
        functions += [-root(21 / 32) * x * (4 * zz - xx - yy), root(105 / 16) * z * (xx - yy)]
        functions += [-root(35 / 32) * x * (xx - 3 * yy)]
    return torch.stack(functions, -1)


def degree_of(count: int) -> int:
    """The degree that `count` functions reach. Raises InputError unless there are 1, 4, 9 or 16."""
    if count not in COUNTS:
        raise InputError(f"{count} spherical harmonics; expected 1, 4, 9 or 16 (degree 0 to 3)")
    return math.isqrt(count) - 1


def spherical_harmonics(
    harmonics: Float[torch.Tensor, "*n k 3"], directions: Float[torch.Tensor, "*n 3"]
) -> Float[torch.Tensor, "*n 3"]:
    """Evaluate spherical harmonics.

    Args:
        harmonics: coefficients of k = 1, 4, 9 or 16 functions (degree 0 to 3) for three channels.
        directions: where they are evaluated, of any length but zero.

    Returns:
        The sum of the functions, weighted by the coefficients.

    Raises:
        InputError: k is another number.
    """
    basis = harmonic_basis(directions, degree_of(harmonics.shape[-2]))
    return (basis[..., None] * harmonics).sum(-2)


def rotate_harmonics(
    harmonics: Float[torch.Tensor, "*n k 3"], rotation: Float[torch.Tensor, "3 3"]
) -> Float[torch.Tensor, "*n k 3"]:
    """Rotate functions: what was seen from a direction d is then seen from `rotation @ d`.

    A rotation mixes the orders of one degree by the Wigner matrix of that degree. The matrix is found from the basis
    itself at more directions than there are orders, which determine it exactly.

    Args:
        harmonics: coefficients of k = 1, 4, 9 or 16 functions (degree 0 to 3) for three channels.
        rotation: a rotation matrix.

    Returns:
        The coefficients of the rotated functions.

    Raises:
        InputError: k is another number.
    """
    degree = degree_of(harmonics.shape[-2])
    turn = rotation.to(harmonics.device, torch.float64)
    somewhere = _scattered(3 * COUNTS[-1]).to(turn.device)
    here, before = harmonic_basis(somewhere, degree), harmonic_basis(somewhere @ turn, degree)  # turned back: d^T R
    rotated = [harmonics[..., :1, :]]
    for order in range(1, degree + 1):
        span = slice(order**2, (order + 1) ** 2)
        wigner = torch.linalg.pinv(here[:, span]) @ before[:, span]
        rotated.append(wigner.to(harmonics.dtype) @ harmonics[..., span, :])
    return torch.cat(rotated, -2)


def _scattered(count: int) -> Float[torch.Tensor, "count 3"]:
    """Unit vectors spread evenly over the sphere, along a spiral of golden angles."""
    step = torch.arange(count, dtype=torch.float64)
    z, angle = 1 - (2 * step + 1) / count, step * math.pi * (3 - math.sqrt(5))
    across = (1 - z * z).sqrt()
    return torch.stack([across * angle.cos(), across * angle.sin(), z], -1)
