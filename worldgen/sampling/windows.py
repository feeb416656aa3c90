"""Which frames the network sees in a row of levels: windows over long matrices, and memories of finished frames."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import CachingDenoiser, Denoiser, as_function, caches, of_frames


@dataclass(frozen=True)
class Window:
    """At most `limit` frames at once: those that move, and of the finished ones those closest to them.

    closeness  [f, f] how much it helps frame i to see frame j; such as `nearness`,
               `worldgen.core.view_distance.overlap` or their sum
    """

    limit: int
    closeness: Float[Tensor, "f f"]

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InputError(f"a window of {self.limit} frames; expected at least 1")
        if self.closeness.ndim != 2 or self.closeness.shape[0] != self.closeness.shape[1]:
            raise InputError(f"closeness {tuple(self.closeness.shape)}; expected [frames, frames]")

    def seen(self, moving: list[int], finished: list[int]) -> list[int]:
        """The frames of one call, in their order. Raises InputError when more move than the network takes."""
        if len(moving) > self.limit:
            raise InputError(
                f"{len(moving)} frames move in one row and the network takes {self.limit}; expected levels that move "
                "fewer at once, such as Levels.rolling, Levels.autoregressive or Levels.keyframes(..., most=...)"
            )
        closest = self.closeness[moving][:, finished].amax(0).argsort(descending=True, stable=True)
        return sorted([*moving, *(finished[int(i)] for i in closest[: self.limit - len(moving)])])


def nearness(time: Float[Tensor, "f"]) -> Float[Tensor, "f f"]:
    """Closeness in time, in 0..1: exp(-|difference| / the median step between neighbors)."""
    gap = (time[:, None] - time[None]).abs()
    step = time.sort().values.diff().median() if len(time) > 1 else time.new_ones(())
    return torch.exp(-gap / step.clamp_min(1e-9))


@dataclass(frozen=True)
class _Rows:
    """Of each row of a matrix of levels, [rows - 1, f].

    moving  the frames on their way
    known   those of which something is as it will stay, such as a given image whose depth waits; others say nothing
    clean   those that are clean in all modalities, and stay so
    """

    moving: Tensor
    known: Tensor
    clean: Tensor

    @staticmethod
    def of(matrix: Tensor) -> "_Rows":
        changes = matrix[1:] != matrix[:-1]
        begun = changes.any(-1).cummax(0).values
        to_come = changes.flip(0).cummax(0).values.flip(0)  # whether a column changes in this row or later
        moving = begun & to_come.any(-1)
        known = (~to_come & (matrix[:-1] < 1)).any(-1) & ~moving
        return _Rows(moving, known, (~to_come & (matrix[:-1] == 0)).all(-1))


def _numbers(chosen: Tensor) -> list[int]:
    return chosen.nonzero().flatten().tolist()


# (x, level, row) -> the clean estimate of all frames; of those the row does not move it is x
Look = Callable[[Tensor, Tensor, int], Tensor]


def windowed_denoiser(denoiser: Denoiser, matrix: Tensor, conditioning: Conditioning, window: Window | None) -> Look:
    """The denoiser as it is called in each row of a matrix of levels [rows, f, m]."""
    if caches(denoiser):
        if window is not None:
            raise InputError("a window with a denoiser that remembers; expected one of them")
        return _remembering(denoiser, matrix, conditioning)
    if window is None:
        call = as_function(denoiser)
        return lambda x, level, row: call(x, level, conditioning)
    if len(window.closeness) != matrix.shape[1]:
        raise InputError(f"a window over {len(window.closeness)} frames; expected {matrix.shape[1]}, as the levels")
    rows = _Rows.of(matrix)
    seen = [_seen(window, matrix, rows, row) for row in range(len(matrix) - 1)]

    def look(x: Tensor, level: Tensor, row: int) -> Tensor:
        return _only(denoiser, x, level, conditioning, seen[row]) if seen[row] else x

    return look


def _seen(window: Window, matrix: Tensor, rows: _Rows, row: int) -> list[int]:
    """The frames of a row's call; none where nothing moves."""
    moving, known = _numbers(rows.moving[row]), _numbers(rows.known[row])
    if not moving:
        return []
    if known and len(moving) >= window.limit and bool((matrix[row, moving] == matrix[0, moving]).all()):
        raise InputError(
            f"{len(moving)} frames begin in row {row} and the network takes {window.limit}, so that they would see "
            "nothing of what is known; expected levels that begin fewer at once"
        )
    return window.seen(moving, known)


def _only(denoiser: Denoiser, x: Tensor, level: Tensor, conditioning: Conditioning, frames: list[int]) -> Tensor:
    """The estimate from some of the frames alone; the others stay as they are."""
    if len(frames) == x.shape[1]:
        return denoiser(x, level, conditioning)
    x0 = x.clone()
    some = of_frames(denoiser, frames)
    x0[:, frames] = some(x[:, frames], level[:, frames], conditioning.frames(frames))
    return x0


def _remembering(denoiser: CachingDenoiser, matrix: Tensor, conditioning: Conditioning) -> Look:
    """Calls with what is not remembered yet and the moving frames may see.

    Frames are remembered, those of one order number in one call, once they and all before them are clean in all
    modalities and stay so: what they see is then as it will stay.
    """
    if conditioning.order is None:
        raise InputError("a denoiser that remembers, with frames in no order; expected Conditioning.causal(...)")
    order = conditioning.order[0].tolist()
    pending, rows = sorted(set(order)), _Rows.of(matrix)

    def look(x: Tensor, level: Tensor, row: int) -> Tensor:
        nonlocal denoiser
        clean, moving = rows.clean[row].tolist(), _numbers(rows.moving[row])
        while pending and all(clean[f] for f in range(len(order)) if order[f] == pending[0]):
            number = pending.pop(0)
            chunk = [f for f in range(len(order)) if order[f] == number]
            denoiser = denoiser.append_to_cache(x[:, chunk], conditioning.frames(chunk))
        if not moving:
            return x
        last = max(order[f] for f in moving)
        awaited = [f for f in range(len(order)) if order[f] in pending and order[f] <= last]
        return _only(denoiser, x, level, conditioning, awaited)

    return look
