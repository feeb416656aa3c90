"""The units of colors in files that do not state them."""

import numpy as np
import torch

from geometry.errors import InputError, note
from geometry.shapes import Float

_OVER = 1e-4  # how far a rounded color may be beyond its range


def unit_colors(where: str, values: np.ndarray, kind: np.dtype) -> Float[torch.Tensor, "n 3"]:
    """Colors in 0..1, float32: whole numbers over the largest of their type, floats as they are.

    What says otherwise is taken as of 8 bits, with a note: floats of 0 to 255, and wider whole numbers that stay below
    256. NaN and Inf become black, with a note. Raises InputError, beginning with `where`, for other ranges.
    """
    values = values.astype(np.float64)
    if bad := int((~np.isfinite(values)).any(-1).sum()):
        note(f"{where}: {bad} of {len(values)} colors with NaN or Inf become black")
        values[~np.isfinite(values)] = 0
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    floats = kind.kind == "f"
    if floats and not (high <= 1 + _OVER or (high <= 255 and (high >= 2 or not (values % 1).any()))):
        raise InputError(f"{where}: colors of up to {high:g}; expected floats in 0..1, or in 0..255")
    if low < -_OVER:
        raise InputError(f"{where}: colors down to {low:g}; expected 0 or more")
    largest = 1.0 if floats else float(np.iinfo(kind).max)
    if (floats and high > 1 + _OVER) or (kind.itemsize > 1 and not floats and 0 < high <= 255):
        note(f"{where}: colors of up to {high:g} in {kind.name} are taken as of 8 bits, 255 being white")
        largest = 255.0
    if largest == 255:  # as bytes were always read
        return torch.from_numpy(values.astype(np.float32)) / 255
    return torch.from_numpy(values / largest).float().clamp(0, 1)
