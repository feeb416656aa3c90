"""Steps by `Solver.reference_step`, column by column: slow, and all that a new solver needs."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geometry.values import as_value
from worldgen.sampling.solvers.base import Solver, SolverHistory
from worldgen.sampling.solvers.column_levels import Move
from worldgen.sampling.solvers.matrix_moves import MatrixMoves

# Of x [b, f, c, h, w], the part that is one column, and its move.
ColumnMove = tuple[tuple[slice, int, slice], Move]


class ReferenceRow(NamedTuple):
    """The step of one row, for each column that moves by itself."""

    solver: Solver
    moves: tuple[ColumnMove, ...]

    def step(self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None) -> tuple[SolverHistory, Tensor]:
        """The next history, and x in the next row; columns that wait keep theirs."""
        kept, y = tuple(part.clone() for part in history), x.clone()
        for at, move in self.moves:
            past, fresh = tuple(part[at] for part in history), torch.zeros_like(x[at]) if noise is None else noise[at]
            new, y[at] = self.solver.reference_step(move, past, x[at], x0[at], fresh)
            assert len(new) == len(kept), f"{self.solver} returns a history of {len(new)}, expected {len(kept)}"
            for part, value in zip(kept, new):
                part[at] = value
        return kept, y

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
        """x in the next row, from the estimate y0 at the first guess y."""
        better = y.clone()
        for at, move in self.moves:
            better[at] = self.solver.reference_correct(move, x[at], x0[at], y[at], y0[at])
        return better


@as_value
@dataclass(frozen=True)
class ReferenceSteps:
    """The steps of a matrix of levels by a solver's `reference_step`.

    channels  of each modality, in order
    """

    solver: Solver
    moves: MatrixMoves
    channels: tuple[int, ...]

    @property
    def whole(self) -> tuple[None, ...]:
        """No step is made beforehand."""
        return (None,) * len(self.moves.moving)

    def row(self, row: int) -> ReferenceRow:
        """The step from a row to the next."""
        moves, ends = self.moves, np.cumsum([0, *self.channels]).tolist()
        cells = np.argwhere(moves.moving[row]).tolist()
        parts = [(slice(None), f, slice(ends[m], ends[m + 1])) for f, m in cells]
        made = [Move(moves.columns[moves.column[f, m]], int(moves.done[row, f, m])) for f, m in cells]
        return ReferenceRow(self.solver, tuple(zip(parts, made)))
