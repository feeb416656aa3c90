"""Which columns of a matrix of levels move in each row, and through which levels."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.sampling.process import Process
from worldgen.sampling.solvers.column_levels import ColumnLevels


@as_value
@dataclass(frozen=True)
class MatrixMoves:
    """The moves of a matrix of levels [rows, f, m].

    columns  the different columns in it
    column   [f, m] which of them each is
    moving   [rows - 1, f, m] whether each column moves from a row to the next
    done     [rows - 1, f, m] how often it moved before
    unended  of each row whether a column that moves has not reached level 0 then
    """

    columns: tuple[ColumnLevels, ...]
    column: np.ndarray
    moving: np.ndarray
    done: np.ndarray
    unended: tuple[bool, ...]

    @staticmethod
    def of(process: Process, matrix: Float[Tensor, "r f m"]) -> "MatrixMoves":
        """Those of a matrix, whose columns may rise (for inversion)."""
        level = matrix.detach().double().cpu().numpy()
        moving = level[1:] != level[:-1]
        flat, moves = level.reshape(len(level), -1), moving.reshape(len(moving), -1)
        known: dict[bytes, int] = {}
        columns: list[ColumnLevels] = []
        column = np.empty(flat.shape[1], dtype=np.int32)
        for n in range(flat.shape[1]):
            if n and np.array_equal(flat[:, n], flat[:, n - 1]):
                column[n] = column[n - 1]
                continue
            levels = np.concatenate([flat[:1, n], flat[1:, n][moves[:, n]]])
            key = levels.tobytes()
            if key not in known:
                known[key] = len(columns)
                columns.append(ColumnLevels.of(process, levels))
            column[n] = known[key]
        return MatrixMoves(
            tuple(columns),
            column.reshape(moving.shape[1:]),
            moving,
            np.cumsum(moving, 0, dtype=np.int32) - moving,
            tuple(np.any(moving & (level[1:] > 0), axis=(1, 2)).tolist()),
        )

    def counts(self, row: int) -> np.ndarray:
        """[f, m] how often each column will have moved after a row; -1 where it does not move in it."""
        return np.where(self.moving[row], self.done[row] + 1, -1)
