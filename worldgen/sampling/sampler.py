"""The one sampling loop. What it does is decided by the matrix of levels it is given."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path as FilePath
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from geometry.errors import InputError
from geometry.io.files import write_file
from geometry.shapes import Float
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, channels_of
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.process import Process, per_channel
from worldgen.sampling.solvers.base import Solver, TableSolver
from worldgen.sampling.solvers.matrix_moves import MatrixMoves
from worldgen.sampling.solvers.reference import ReferenceSteps
from worldgen.sampling.solvers.table import CoefficientTable
from worldgen.sampling.windows import Window, windowed_denoiser


class State(NamedTuple):
    """After a step: x [b, f, c, h, w] at the levels of `row`, and the clean estimate that step was made with.

    history  what the solver's next steps need
    run      which matrix, solver and process it belongs to
    """

    row: int
    x: Tensor
    x0: Tensor
    history: tuple[Tensor, ...] = ()
    run: str = ""

    def save(self, path: FilePath | str) -> None:
        """Write it as safetensors, to go on from later (`sample(..., state=State.load(path))`), bit for bit."""
        tensors = {"x": self.x, "x0": self.x0} | {f"history.{n}": value for n, value in enumerate(self.history)}
        facts = {"state": json.dumps({"row": self.row, "history": len(self.history), "run": self.run})}
        # Two names may share one tensor, which safetensors does not allow.
        own = {name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        write_file(FilePath(path), save(own, facts))

    @staticmethod
    def load(path: FilePath | str, device: torch.device | str = "cpu") -> "State":
        """Read one, to a device. Raises InputError for a file that holds none."""
        try:
            with safe_open(str(path), "pt") as file:
                facts = json.loads((file.metadata() or {})["state"])
                x, x0 = (file.get_tensor(name).to(device) for name in ("x", "x0"))
                history = tuple(file.get_tensor(f"history.{n}").to(device) for n in range(facts["history"]))
                return State(facts["row"], x, x0, history, facts["run"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: {type(error).__name__}; expected a state of the sampler") from error


def sample(
    denoiser: Denoiser,
    known: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    levels: Levels,
    conditioning: Conditioning,
    solver: Solver,
    *,
    fresh: KeyedNoise | Callable[[np.ndarray], Tensor] | None = None,
    window: Window | None = None,
    state: State | None = None,
) -> Iterator[State]:
    """Follow the rows of `levels`, yielding the state after every step; the last one's x is the result.

    known     signals of what is given; unknown columns may hold anything finite, but what starts between 0 and 1 is
              noised from here
    noise     standard normal; where a column starts at level 1 it starts from this alone
    fresh     noise for stochastic solvers: `KeyedNoise`, or a function of how often each column moved [f, m]
    window    which frames the network sees in each row, for more frames than it takes (`worldgen.sampling.windows`)
    state     go on from here rather than from the first row; `noise` is not looked at then

    Columns whose level does not change in a step are not touched, bit for bit. A denoiser that can remember finished
    frames (`worldgen.sampling.windows.CachingDenoiser`) is called with the others only. Progress, previews and stopping
    early belong to the caller.

    Raises InputError for shapes that do not agree, a stochastic solver without fresh noise, and the state of another
    run.
    """
    _check(denoiser, levels, known)
    if noise.shape[1:] != known.shape[1:] or noise.shape[0] not in (1, known.shape[0]):
        raise InputError(f"noise {tuple(noise.shape)} for frames {tuple(known.shape)}; expected one shape")
    if state is None:
        first = per_channel(levels.matrix[0].to(known), channels_of(denoiser))
        state = begin(denoiser, denoiser.process.add_noise(known, noise, first).expand_as(known), levels, solver)
    elif state.x.shape != known.shape:
        raise InputError(f"a state of frames {tuple(state.x.shape)}; expected {tuple(known.shape)}")
    return _follow(denoiser, state, levels.matrix, conditioning, solver, fresh, window, known)


def begin(denoiser: Denoiser, x: Float[Tensor, "b f c h w"], levels: Levels, solver: Solver) -> State:
    """The state before the first step, with an x of one's own, for `sample(..., state=begin(...))`."""
    return _begin(x, levels.matrix, solver, denoiser.process)


def invert(
    denoiser: Denoiser,
    x: Float[Tensor, "b f c h w"],
    levels: Levels,
    conditioning: Conditioning,
    solver: Solver,
) -> Iterator[State]:
    """Follow the rows backwards from clean frames, to the noise that would have led to them (Song et al. 2020, 4.3).

    The last state's x is that noise. With many rows, `sample` from it returns the frames. Raises InputError for a
    stochastic solver.
    """
    if solver.stochastic:
        raise InputError(f"inversion with {solver}; expected a solver without fresh noise")
    _check(denoiser, levels, x)
    matrix = levels.matrix.flip(0)
    return _follow(denoiser, _begin(x, matrix, solver, denoiser.process), matrix, conditioning, solver)


def reflow_pairs(
    denoiser: Denoiser,
    noise: Float[Tensor, "b f c h w"],
    levels: Levels,
    conditioning: Conditioning,
    solver: Solver,
) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b f c h w"]]:
    """Noise and the frames it leads to, which a network learns straighter paths from (Liu et al. 2022, algorithm 1)."""
    *_, last = sample(denoiser, torch.zeros_like(noise), noise, levels, conditioning, solver)
    return noise, last.x


def _check(denoiser: Denoiser, levels: Levels, x: Tensor) -> None:
    channels = channels_of(denoiser)
    frames, modalities = levels.matrix.shape[1:]
    if x.ndim != 5 or x.shape[1] != frames or x.shape[2] != sum(channels) or len(channels) != modalities:
        raise InputError(
            f"levels of {frames} frames and {modalities} modalities for frames of shape {tuple(x.shape)} with "
            f"modalities of {channels} channels; expected them to agree"
        )


def _begin(x: Tensor, matrix: Tensor, solver: Solver, process: Process) -> State:
    return State(0, x, x, (x,) * solver.history, _run_name(solver, process, matrix))


def _run_name(solver: Solver, process: Process, matrix: Tensor) -> str:
    digest = hashlib.sha256(matrix.detach().double().cpu().numpy().tobytes())
    digest.update(f"{solver} {process} {tuple(matrix.shape)}".encode())
    return digest.hexdigest()[:16]


def _follow(
    denoiser: Denoiser,
    state: State,
    matrix: Tensor,
    conditioning: Conditioning,
    solver: Solver,
    fresh: KeyedNoise | Callable[[np.ndarray], Tensor] | None = None,
    window: Window | None = None,
    known: Tensor | None = None,
) -> Iterator[State]:
    """Work everything out before the first step."""
    process, channels = denoiser.process, channels_of(denoiser)
    if state.run != _run_name(solver, process, matrix):
        raise InputError(f"a state in row {state.row} of another run; expected the same levels, solver and process")
    if solver.stochastic and fresh is None:
        raise InputError(f"{solver} takes fresh noise; expected `fresh`, such as KeyedNoise(...)")
    moves = MatrixMoves.of(process, matrix)
    if isinstance(solver, TableSolver):
        steps = CoefficientTable.of(solver, moves, channels, state.x)
    else:
        steps = ReferenceSteps(solver, moves, channels)
    denoise = windowed_denoiser(denoiser, matrix, conditioning, window)
    levels = matrix.to(state.x).expand(state.x.shape[0], *matrix.shape).unbind(1)
    constant = (matrix == matrix[0]).all(0) & (matrix[0] > 0) & (matrix[0] < 1)
    shown = per_channel(constant.to(state.x), channels) > 0 if known is not None and bool(constant.any()) else None
    draw = (fresh.fresh if isinstance(fresh, KeyedNoise) else fresh) if solver.stochastic else None

    def loop(x: Tensor, history: tuple[Tensor, ...]) -> Iterator[State]:
        """At the end, columns that stood between 0 and 1 are returned as they are known."""
        whole, corrects, run, noise, last = steps.whole, solver.corrects, state.run, None, len(levels) - 2
        made = partial(tuple.__new__, State)  # State(...) takes a tenth of a small step longer
        for row in range(state.row, last + 1):
            x0 = denoise(x, levels[row], row)
            if draw is not None:
                noise = draw(moves.counts(row)).to(x)
            step = whole[row] or steps.row(row)
            history, y = step.step(history, x, x0, noise)
            if corrects and moves.unended[row]:
                y = step.correct(x, x0, y, denoise(y, levels[row + 1], row))
            if row == last and shown is not None:
                y = torch.where(shown, known, y)  # type: ignore[arg-type] - known is there where anything is shown
            yield made((row + 1, y, x0, history, run))
            x = y

    return loop(state.x, state.history)
