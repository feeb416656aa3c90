"""A solver's coefficients, row by row, as they are needed in a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldgen.sampling.path import Path
from worldgen.sampling.solvers import Coefficient, Solver


@dataclass(frozen=True)
class Steps:
    """All that a matrix of levels means for a solver, worked out before the first step.

    numbers  of each row the coefficients, where all columns have the same; else None
    table    [rows - 1, terms, f, m] all coefficients, in x's type and on its device
    channel  [c] the modality of each channel
    moving   of each row which columns move, [f, c, 1, 1]; None = all
    goes_on  of each row whether a column that moves has not reached level 0 then
    """

    path: Path
    numbers: tuple[tuple[float, ...] | None, ...]
    table: Tensor | None
    channel: Tensor
    moving: tuple[Tensor | None, ...]
    goes_on: tuple[bool, ...]

    @staticmethod
    def of(solver: Solver, path: Path, channels: tuple[int, ...], like: Tensor) -> "Steps":
        """Those of a path, for frames like these."""
        table = solver.coefficients(path)
        assert np.isfinite(table).all(), f"{solver}: coefficients that are no numbers"
        flat = table.reshape(*table.shape[:2], -1)
        every = np.all(path.moving, axis=(1, 2))
        same = every & np.all(flat == flat[..., :1], axis=(0, 2))
        numbers = tuple(tuple(row) if s else None for row, s in zip(flat[..., 0].T.tolist(), same.tolist()))
        channel = torch.repeat_interleave(torch.tensor(channels)).to(like.device)
        moving = tuple(
            None if e else torch.from_numpy(row).to(like.device)[:, channel, None, None]
            for e, row in zip(every.tolist(), path.moving)
        )
        goes_on = np.any(path.moving & (path.level[1:] > 0), axis=(1, 2))
        shared = None if same.all() else torch.from_numpy(table).to(like).transpose(0, 1).contiguous()
        return Steps(path, numbers, shared, channel, moving, tuple(goes_on.tolist()))

    def coefficients(self, row: int) -> Sequence[Coefficient]:
        """Of one row: numbers, or tensors [f, c, 1, 1]."""
        numbers = self.numbers[row]
        if numbers is not None:
            return numbers
        assert self.table is not None, "rows without one number have a table"
        return self.table[row][..., self.channel, None, None].unbind(0)
