"""Rows of steps by a table of coefficients, worked out before the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geometry.values import as_value
from worldgen.sampling.solvers.base import Coefficient, SolverHistory, TableSolver
from worldgen.sampling.solvers.matrix_moves import MatrixMoves


class TableRow(NamedTuple):
    """The step of one row, for all columns together.

    c       coefficients: numbers where all columns make the same move, else tensors [f, c, 1, 1]
    moving  which columns move, [f, c, 1, 1]; None = all
    """

    solver: TableSolver
    c: Sequence[Coefficient]
    moving: Tensor | None

    def step(self, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor | None) -> tuple[SolverHistory, Tensor]:
        """The next history, and x in the next row; columns that wait keep theirs."""
        solver, c, moving = self
        new, y = solver.step(history, x, x0, noise, c)
        if moving is None:
            return new, y
        return tuple(torch.where(moving, after, now) for after, now in zip(new, history)), torch.where(moving, y, x)

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
        """x in the next row, from the estimate y0 at the first guess y."""
        better = self.solver.correct(x, x0, y, y0, self.c)
        return better if self.moving is None else torch.where(self.moving, better, x)


@as_value
@dataclass(frozen=True)
class CoefficientTable:
    """All that a matrix of levels means for a solver.

    A column's k-th move is the same whatever the row it is made in, and most columns come down through the same levels:
    so there are coefficients for each move of each different column, and for each cell of the matrix the number of its
    move.

    table    [moves + 1, terms] in x's type and on its device, zeros behind the last
    move     [rows - 1, f, m] which of them each column makes; -1 = it waits
    whole    the steps of rows where all columns make the same move; None for others
    channel  [c] the modality of each channel
    """

    solver: TableSolver
    table: Tensor
    move: np.ndarray
    whole: tuple[TableRow | None, ...]
    channel: Tensor

    @staticmethod
    def of(solver: TableSolver, moves: MatrixMoves, channels: tuple[int, ...], like: Tensor) -> "CoefficientTable":
        """That of a matrix, for frames like these."""
        terms = [solver.coefficients(column).T for column in moves.columns]
        assert all(np.isfinite(part).all() for part in terms), f"{solver}: coefficients that are NaN or Inf"
        first = np.cumsum([0, *map(len, terms)])[moves.column]
        move = np.where(moves.moving, first + moves.done, -1)
        flat = move.reshape(len(move), -1)
        whole = np.where((flat == flat[:, :1]).all(1), flat[:, 0], -1).tolist()
        table = np.concatenate([*terms, np.zeros((1, terms[0].shape[1]))])
        rows = [TableRow(solver, numbers, None) for numbers in table.tolist()]
        return CoefficientTable(
            solver,
            torch.from_numpy(table).to(like),
            move,
            tuple(rows[move] if move >= 0 else None for move in whole),
            torch.repeat_interleave(torch.tensor(channels)).to(like.device),
        )

    def row(self, row: int) -> TableRow:
        """The step of a row that is not in `whole`."""
        move = torch.from_numpy(self.move[row]).to(self.channel.device)[:, self.channel]
        return TableRow(self.solver, self.table[move][..., None, None].unbind(2), (move >= 0)[..., None, None])
