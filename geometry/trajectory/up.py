"""Which way is up in a capture's world, estimated from its cameras.

Reconstructions choose their axes freely, but people hold cameras level: the axes to the right are horizontal. Up is the
direction that these have the least of, on the side where the cameras' own up axes are. Where all look the same way, or
there is one camera only, the pitch cannot be told apart from the world's tilt, and up is that of the cameras.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_ROUNDS, _ROLL = 20, 0.05  # of reweighting, and the sine of a roll that counts as careless
_LEVEL = 0.25  # the sine of a roll, at most, of half of the cameras
_SPREAD = 0.02  # second moment of the axes to the right that tells their plane: about 8 degrees about their mean
_AGREED_DEG = {True: 10.0, False: 60.0}  # how far +z may be off, by whether the estimate is certain


@as_value
@dataclass(frozen=True)
class Up:
    """An estimate of up.

    Attributes:
        direction: [3] of unit length, float64.
        certain: whether the cameras look in directions that differ enough to tell; else it is only their own up.
        off_z_deg: degrees between it and +z.
    """

    direction: Float[torch.Tensor, "3"]
    certain: bool
    off_z_deg: float

    @property
    def is_z(self) -> bool:
        """Whether +z is taken instead: within 10 degrees of a certain estimate, 60 of an uncertain one."""
        return self.off_z_deg <= _AGREED_DEG[self.certain]


def estimate_up(world_from_camera: Float[torch.Tensor, "n 4 4"]) -> Up:
    """Estimate up from cameras that are held about level.

    Args:
        world_from_camera: poses of at least one camera, OpenCV axes.

    Returns:
        The estimate; +z, uncertain, where the cameras are not level and their up axes differ (as on a robot's hand).

    Raises:
        InputError: there are no cameras.
    """
    if not len(world_from_camera):
        raise InputError("up of 0 cameras; expected at least one")
    turn = world_from_camera[:, :3, :3].detach().double().cpu()
    right, mean = turn[:, :, 0], -turn[:, :, 1].mean(0)
    vertical = torch.tensor(_AXES["z"], dtype=torch.float64)
    values, vectors = _moments(right, torch.ones(len(right), dtype=torch.float64))
    for _ in range(_ROUNDS):  # least absolute roll: some rolled cameras do not tilt the rest
        values, vectors = _moments(right, 1 / (right @ vectors[:, 0]).abs().clamp_min(_ROLL))
    level = float((right @ vectors[:, 0]).abs().median()) < _LEVEL
    up = vectors[:, 0] * torch.where(vectors[:, 0] @ mean < 0, -1.0, 1.0)
    # Where up is across the cameras' own, their right axes lie in a plane for another reason.
    certain = level and float(values[1]) > _SPREAD and bool(up @ mean > 0.3 * mean.norm())
    if not certain and float(mean.norm()) < 0.9:
        return Up(vertical, False, 0.0)
    if not certain:
        ahead = vectors[:, 2]
        up = mean - (mean @ ahead) * ahead
        up = up / up.norm() if float(up.norm()) > 1e-6 else mean / mean.norm()
    return Up(up, certain, math.degrees(math.acos(max(-1.0, min(1.0, float(up @ vertical))))))


def _moments(
    axes: Float[torch.Tensor, "n 3"], weight: Float[torch.Tensor, "n"]
) -> tuple[Float[torch.Tensor, "3"], Float[torch.Tensor, "3 3"]]:
    """The principal moments of axes, least first, and their directions as columns."""
    values, vectors = torch.linalg.eigh(torch.einsum("n,ni,nj->ij", weight / weight.sum(), axes, axes))
    return values, vectors


def parse_up(up: str | Sequence[float | int] | torch.Tensor) -> Float[torch.Tensor, "3"] | None:
    """A direction as users give it.

    Args:
        up: "auto", a signed axis such as "+z" or "-y", or three numbers, also as text: "0,-1,0.1".

    Returns:
        It in unit length, float64; None for "auto".

    Raises:
        InputError: it is none of these, or of no length.
    """
    if isinstance(up, str):
        if up == "auto":
            return None
        sign, axis = (up[0], up[1:]) if up[:1] in ("+", "-") else ("+", up)
        words = [f"{v}" for v in _AXES[axis]] if axis in _AXES else up.replace(",", " ").split()
        try:
            values = [float(word) * (-1 if sign == "-" and axis in _AXES else 1) for word in words]
        except ValueError:
            values = []
    else:
        values = [float(value) for value in up]
    length = math.sqrt(sum(value * value for value in values))
    if len(values) != 3 or not (math.isfinite(length) and length > 1e-9):
        raise InputError(f"up {str(up)[:40]!r}; expected auto, an axis such as +z or -y, or three numbers x,y,z")
    return torch.tensor(values, dtype=torch.float64) / length


def level_from_world(up: Float[torch.Tensor, "3"]) -> Float[torch.Tensor, "3 3"]:
    """The least rotation that takes an up direction to +z; half a turn about x where it is -z.

    Args:
        up: of unit length.

    Returns:
        The rotation, float64.
    """
    x, y, z = up.double().tolist()
    if z < -1 + 1e-12:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    k = 1 / (1 + z)
    rows = [[1 - k * x * x, -k * x * y, -x], [-k * x * y, 1 - k * y * y, -y], [x, y, z]]
    return torch.tensor(rows, dtype=torch.float64)
