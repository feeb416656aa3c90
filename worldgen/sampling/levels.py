"""`Levels`: a schedule as a matrix. Every mode of the model is a constructor of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Bool, Float


@dataclass(frozen=True)
class Levels:
    """matrix [rows, frames, modalities]: what is known of each (frame, modality); 0 = given and clean, 1 = unknown.

    From one row to the next is one solver step. Columns never rise, and each is constant or ends at 0.
    Raises InputError when that does not hold.
    """

    matrix: Float[Tensor, "r f m"]

    def __post_init__(self) -> None:
        m = self.matrix
        if m.ndim != 3 or min(m.shape) < 1 or len(m) < 2:
            raise InputError(
                f"levels of shape {tuple(m.shape)}; expected [rows, frames, modalities], 2 or more rows, none empty"
            )
        if not bool(((m >= 0) & (m <= 1)).all()):
            raise InputError(f"levels from {float(m.min())} to {float(m.max())}; expected all in 0..1, none NaN")
        if bool((m.diff(dim=0) > 0).any()):
            raise InputError("levels that rise from one row to the next; expected columns that only fall")
        if not bool(((m[-1] == 0) | (m == m[0]).all(0)).all()):
            raise InputError("levels that fall but do not reach 0; expected columns that are constant or end at 0")

    @staticmethod
    def full_sequence(frames: int, modalities: int, steps: int, shift: float = 1.0) -> "Levels":
        """Everything unknown, denoised together."""
        return Levels.given(torch.zeros(frames, modalities, dtype=torch.bool), steps, shift)

    @staticmethod
    def given(known: Bool[Tensor, "f m"], steps: int, shift: float = 1.0) -> "Levels":
        """Known columns stay at 0; all others ramp together from 1 to 0 in so many steps.

        shift > 1 spends more of the steps at high levels: t -> s t / (1 + (s - 1) t) (Esser et al. 2024, eq. 23).
        """
        if steps < 1:
            raise InputError(f"{steps} sampling steps; expected at least 1")
        if not shift > 0:
            raise InputError(f"level shift {shift}; expected more than 0")
        t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        ramp = (shift * t / (1 + (shift - 1) * t)).float()
        return Levels(torch.where(known, 0.0, ramp[:, None, None]))

    @property
    def still(self) -> Bool[Tensor, "f m"]:
        """Columns that never change: given, and returned as they came."""
        return (self.matrix == self.matrix[0]).all(0)

    def __len__(self) -> int:
        return len(self.matrix)

    def __str__(self) -> str:
        """One line a frame and modality, one digit a row (0..9, # = 1)."""
        digits = [["#" if v >= 1 else str(int(v * 10)) for v in column] for column in self.matrix.flatten(1).T.tolist()]
        names = [f"frame {f} modality {m}" for f in range(self.matrix.shape[1]) for m in range(self.matrix.shape[2])]
        return "\n".join(f"{name}  {''.join(row)}" for name, row in zip(names, digits))
