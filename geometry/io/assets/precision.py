"""What float32 can hold: large coordinates lose their last digits there (a map's metres become steps of half a metre).

Files whose positions are float32 are written as they are where nothing is lost, and otherwise with doubles (PLY), more
digits (OBJ) or the shape moved to the origin and back by a transform (GLB, USD). Readers give float64 where float32
would lose something.
"""

import torch

from geometry.errors import InputError
from geometry.shapes import Float

_STEP = 1e-3  # the largest error that may be made, in the world's unit: a millimetre
_SHARE, _NOISE = 1e-4, 1e-6  # of the shape's size: errors above the first show, below the second they are rounding


def error_of_float32(points: Float[torch.Tensor, "n 3"]) -> float:
    """How far the farthest point moves when it becomes float32: 0 where that is too little to matter.

    A millimetre matters, less than that from a ten-thousandth of the shape's size on; a millionth of it never does.
    NaN and Inf are not for this function to find.
    """
    if points.dtype != torch.float64 or not len(points):
        return 0.0
    points = points.detach()
    error = float((points - points.float().double()).abs().max())
    size = float((points.amax(0) - points.amin(0)).amax())
    allowed = max(_NOISE, _NOISE * size, min(_SHARE * size, _STEP) if size else _STEP)
    return error if error > allowed else 0.0


def narrowed(points: Float[torch.Tensor, "n 3"]) -> Float[torch.Tensor, "n 3"]:
    """Points as float32, or as float64 where float32 would lose something."""
    return points if error_of_float32(points) else points.float()


def float32_origin(points: Float[torch.Tensor, "n 3"], where: str) -> Float[torch.Tensor, "3"]:
    """Whole numbers (float64) to subtract so that float32 holds the points: zeros where it holds them as they are.

    Raises InputError, beginning with `where`, for points too far apart for that.
    """
    if not error_of_float32(points):
        return torch.zeros(3, dtype=torch.float64)
    points = points.detach().cpu()
    origin = ((points.amin(0) + points.amax(0)) / 2).round()
    check_float32(points - origin, where)
    return origin


def check_float32(points: Float[torch.Tensor, "n 3"], where: str) -> None:
    """Raise InputError, beginning with `where`, for points that float32 cannot hold; it says by how much."""
    if error := error_of_float32(points):
        raise InputError(
            f"{where}: positions of up to {float(points.abs().max()):g} would move by up to {error:.2g} as float32; "
            "expected them near the origin: move them there, or give a `stored_from_user` that does"
        )
