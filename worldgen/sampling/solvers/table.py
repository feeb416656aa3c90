"""A solver's coefficients, row by row, as they are needed in a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Float
from worldgen.sampling.process import Process
from worldgen.sampling.solvers import Solver
from worldgen.sampling.solvers.base import Coefficient
from worldgen.sampling.solvers.column import Path


@dataclass(frozen=True)
class Steps:
    """All that a matrix of levels means for a solver, worked out before the first step.

    A column's k-th move is the same whatever the row it is made in, and most columns come down one ramp: so there are
    coefficients for each move of each different ramp, and for each cell of the matrix the number of its move.

    table    [moves + 1, terms] in x's type and on its device, zeros behind the last
    move     [rows - 1, f, m] which of them each column makes; -1 = it waits
    done     [rows - 1, f, m] how often it moved before
    whole    of each row where all columns make the same move, what `of_row` answers; else None
    goes_on  of each row whether a column that moves has not reached level 0 then
    channel  [c] the modality of each channel
    """

    table: Tensor
    move: np.ndarray
    done: np.ndarray
    whole: tuple[tuple[tuple[float, ...], None] | None, ...]
    goes_on: tuple[bool, ...]
    channel: Tensor

    @staticmethod
    def of(
        solver: Solver, process: Process, matrix: Float[Tensor, "r f m"], channels: tuple[int, ...], like: Tensor
    ) -> "Steps":
        """Those of a matrix, for frames like these."""
        level = matrix.detach().double().cpu().numpy()
        moving = level[1:] != level[:-1]
        count = np.cumsum(moving, 0, dtype=np.int32)
        columns, moves = level.reshape(len(level), -1), moving.reshape(len(moving), -1)
        schedules: dict[bytes, int] = {}
        terms: list[np.ndarray] = []
        first = np.empty(columns.shape[1], dtype=np.int32)
        for n in range(columns.shape[1]):
            if n and np.array_equal(columns[:, n], columns[:, n - 1]):
                first[n] = first[n - 1]
                continue
            schedule = np.concatenate([columns[:1, n], columns[1:, n][moves[:, n]]])
            key = schedule.tobytes()
            if key not in schedules:
                schedules[key] = sum(map(len, terms))
                terms.append(solver.coefficients(Path.of(process, schedule)).T)
                assert np.isfinite(terms[-1]).all(), f"{solver}: coefficients that are no numbers"
            first[n] = schedules[key]
        done = count - moving
        move = np.where(moving, first.reshape(moving.shape[1:]) + done, -1)
        flat = move.reshape(len(move), -1)
        whole = np.where((flat == flat[:, :1]).all(1), flat[:, 0], -1).tolist()
        goes_on = np.any(moving & (level[1:] > 0), axis=(1, 2))
        table = np.concatenate([*terms, np.zeros((1, terms[0].shape[1]))])
        numbers = [(tuple(row), None) for row in table.tolist()]
        return Steps(
            torch.from_numpy(table).to(like),
            move,
            done,
            tuple(numbers[move] if move >= 0 else None for move in whole),
            tuple(goes_on.tolist()),
            torch.repeat_interleave(torch.tensor(channels)).to(like.device),
        )

    def of_row(self, row: int) -> tuple[Sequence[Coefficient], Tensor | None]:
        """The coefficients, as numbers with None where all columns make the same move; else as tensors [f, c, 1, 1],
        with which columns move [f, c, 1, 1]."""
        whole = self.whole[row]
        if whole is not None:
            return whole
        move = torch.from_numpy(self.move[row]).to(self.channel.device)[:, self.channel]
        return self.table[move][..., None, None].unbind(2), (move >= 0)[..., None, None]

    def counts(self, row: int) -> np.ndarray:
        """[f, m] how often each column will have moved after a row; -1 where it does not move in it."""
        return np.where(self.move[row] >= 0, self.done[row] + 1, -1)
