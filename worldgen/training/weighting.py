"""How much a squared error of the clean estimate counts by the noise level it was made at."""

from collections.abc import Callable

import torch
from torch import Tensor

from geometry.errors import InputError


def _signal_to_noise(t: Tensor) -> Tensor:
    return ((1 - t) / t).square()


# Of a level t: 1 / t^2 is the error of the velocity (the x0 error over t); the signal-to-noise ratio is that of the
# noise (Ho et al. 2020); min_snr is the same, at most 5 (Hang et al. 2023, eq. 8).
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "velocity": lambda t: 1 / t.square(),
    "x0": torch.ones_like,
    "snr": _signal_to_noise,
    "min_snr": lambda t: _signal_to_noise(t).clamp_max(5.0),
}


def weight(name: str, level: Tensor, least: float) -> Tensor:
    """The weight of a squared error of the clean estimate.

    Below `least` it stays what it is there, or nearly clean frames would decide everything (Li & He 2025, "Back to
    Basics", use 0.05; small models with little training have no capacity to spend on the last details).

    Args:
        name: One of `WEIGHTINGS`.
        level: Noise levels in 0..1, of any shape.
        least: A level above 0.

    Returns:
        Weights of the levels' shape.

    Raises:
        InputError: No such weighting.
    """
    if name not in WEIGHTINGS:
        raise InputError(f"loss weighting {name!r}; expected one of {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name](level.clamp_min(least))
