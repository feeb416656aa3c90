"""Which frames are in a call of the denoiser: windows over long matrices, and caches of finished frames."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import CachingDenoiser, Denoiser, as_function, caches, of_frames

# (x, level, row) -> the clean estimate of all frames; of those the row does not move it is x
RowDenoiser = Callable[[Tensor, Tensor, int], Tensor]


@as_value
@dataclass(frozen=True)
class Window:
    """At most `limit` frames in a call: those that move, and of the finished ones those closest to them.

    Args:
        limit: The most frames the network takes.
        closeness: [f, f] how much it helps frame i to have frame j in the call; such as `nearness`,
            `worldgen.core.view_distance.overlap` or their sum.

    Raises:
        InputError: For a limit below 1, or a closeness that is not square.
    """

    limit: int
    closeness: Float[Tensor, "f f"]

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InputError(f"a window of {self.limit} frames; expected at least 1")
        if self.closeness.ndim != 2 or self.closeness.shape[0] != self.closeness.shape[1]:
            raise InputError(f"closeness {tuple(self.closeness.shape)}; expected [frames, frames]")

    def chosen(self, moving: list[int], finished: list[int]) -> list[int]:
        """The frames of one call, in their order. Raises InputError when more move than the network takes."""
        if len(moving) > self.limit:
            raise InputError(
                f"{len(moving)} frames move in one row and the network takes {self.limit}; expected levels that move "
                "fewer at once, such as Levels.rolling, Levels.autoregressive or Levels.keyframes(..., most=...)"
            )
        closest = self.closeness[moving][:, finished].amax(0).argsort(descending=True, stable=True)
        return sorted([*moving, *(finished[int(i)] for i in closest[: self.limit - len(moving)])])


def nearness(time: Float[Tensor, "f"]) -> Float[Tensor, "f f"]:
    """Closeness in time: exp(-|difference| / the median step between neighbors).

    Args:
        time: Of each frame, in any unit.

    Returns:
        The closeness of every two frames, in 0..1.
    """
    gap = (time[:, None] - time[None]).abs()
    step = time.sort().values.diff().median() if len(time) > 1 else time.new_ones(())
    return torch.exp(-gap / step.clamp_min(1e-9))


@dataclass(frozen=True)
class _Rows:
    """Of each row of a matrix of levels, [rows - 1, f].

    moving  frames that have begun and are not finished
    known   others in which something has its final level below 1, such as a given image whose depth waits
    clean   frames that are clean in all modalities, and stay so
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


def windowed_denoiser(
    denoiser: Denoiser, matrix: Tensor, conditioning: Conditioning, window: Window | None
) -> RowDenoiser:
    """The denoiser as it is called in each row of a matrix of levels [rows, f, m]."""
    if caches(denoiser):
        if window is not None:
            raise InputError("a window with a denoiser that caches frames; expected one of them")
        return _cached_denoiser(denoiser, matrix, conditioning)
    if window is None:
        call = as_function(denoiser)
        return lambda x, level, row: call(x, level, conditioning)
    if len(window.closeness) != matrix.shape[1]:
        raise InputError(f"a window over {len(window.closeness)} frames; expected {matrix.shape[1]}, as the levels")
    rows = _Rows.of(matrix)
    frames = [_frames_of_row(window, matrix, rows, row) for row in range(len(matrix) - 1)]

    def in_window(x: Tensor, level: Tensor, row: int) -> Tensor:
        return _estimate_some(denoiser, x, level, conditioning, frames[row]) if frames[row] else x

    return in_window


def _frames_of_row(window: Window, matrix: Tensor, rows: _Rows, row: int) -> list[int]:
    """The frames of a row's call; none where nothing moves."""
    moving, known = _numbers(rows.moving[row]), _numbers(rows.known[row])
    if not moving:
        return []
    if known and len(moving) >= window.limit and bool((matrix[row, moving] == matrix[0, moving]).all()):
        raise InputError(
            f"{len(moving)} frames begin in row {row} and the network takes {window.limit}, which leaves no room for "
            "what is known; expected levels that begin fewer at once"
        )
    return window.chosen(moving, known)


def _estimate_some(
    denoiser: Denoiser, x: Tensor, level: Tensor, conditioning: Conditioning, frames: list[int]
) -> Tensor:
    """The estimate from some of the frames alone; the others stay as they are."""
    if len(frames) == x.shape[1]:
        return denoiser(x, level, conditioning)
    x0 = x.clone()
    some = of_frames(denoiser, frames)
    x0[:, frames] = some(x[:, frames], level[:, frames], conditioning.frames(frames))
    return x0


def _cached_denoiser(denoiser: CachingDenoiser, matrix: Tensor, conditioning: Conditioning) -> RowDenoiser:
    """Calls with the frames that are not cached yet and not after the last one that moves.

    Frames are appended to the cache, those of one order number in one call, once they and all before them are clean in
    all modalities and stay so: what they attend to is then final.
    """
    if conditioning.order is None:
        raise InputError("a denoiser that caches frames, with frames in no order; expected Conditioning.causal(...)")
    order = conditioning.order[0].tolist()
    pending, rows = sorted(set(order)), _Rows.of(matrix)

    def with_cache(x: Tensor, level: Tensor, row: int) -> Tensor:
        nonlocal denoiser
        clean, moving = rows.clean[row].tolist(), _numbers(rows.moving[row])
        while pending and all(clean[f] for f in range(len(order)) if order[f] == pending[0]):
            number = pending.pop(0)
            chunk = [f for f in range(len(order)) if order[f] == number]
            denoiser = denoiser.append_to_cache(x[:, chunk], conditioning.frames(chunk))
        if not moving:
            return x
        last = max(order[f] for f in moving)
        unfinished = [f for f in range(len(order)) if order[f] in pending and order[f] <= last]
        return _estimate_some(denoiser, x, level, conditioning, unfinished)

    return with_cache
