"""The one sampling loop (`_loop`). What it does is decided by the matrix of levels it is given."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from worldgen.sampling.windows import RowDenoiser, Window, windowed_denoiser

# How often each column moved [f, m] (-1: it does not move) -> noise [b, f, c, h, w]
FreshNoise = Callable[[np.ndarray], Tensor]


class SamplerState(NamedTuple):
    """The sampler after a step.

    Args:
        row: The row of levels that was reached.
        x: Frames [b, f, c, h, w] at the levels of that row.
        x0: The clean estimate the step was made with.
        history: What the solver needs for its next steps.
        run: Which matrix, solver and process the state belongs to.
    """

    row: int
    x: Tensor
    x0: Tensor
    history: tuple[Tensor, ...] = ()
    run: str = ""

    def save(self, path: Path | str) -> None:
        """Write the state as safetensors, from which `sample(..., state=SamplerState.load(path))` resumes bit for bit.

        Args:
            path: Of the file to write.
        """
        tensors = {"x": self.x, "x0": self.x0} | {f"history.{n}": value for n, value in enumerate(self.history)}
        facts = {"state": json.dumps({"row": self.row, "history": len(self.history), "run": self.run})}
        # Two names may share one tensor, which safetensors does not allow.
        own = {name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        write_file(Path(path), save(own, facts))

    @staticmethod
    def load(path: Path | str, device: torch.device | str = "cpu") -> "SamplerState":
        """Read a state.

        Args:
            path: Of a file that `save` wrote.
            device: Where its tensors go.

        Returns:
            The state, bit for bit as it was saved.

        Raises:
            InputError: For a file that holds no state.
        """
        try:
            with safe_open(str(path), "pt") as file:
                facts = json.loads((file.metadata() or {})["state"])
                x, x0 = (file.get_tensor(name).to(device) for name in ("x", "x0"))
                history = tuple(file.get_tensor(f"history.{n}").to(device) for n in range(facts["history"]))
                return SamplerState(facts["row"], x, x0, history, facts["run"])
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
    fresh: KeyedNoise | FreshNoise | None = None,
    window: Window | None = None,
    state: SamplerState | None = None,
) -> Iterator[SamplerState]:
    """Follow the rows of `levels`, yielding the state after every step; the last one's x is the result.

    Columns whose level does not change in a step are not touched, bit for bit. A `CachingDenoiser` is called with
    unfinished frames alone. Progress bars, previews and stopping early belong to the caller.

    Args:
        denoiser: Predicts the clean signal; its process says what levels mean.
        known: Signals of what is given, and of what starts between 0 and 1, which is noised from here. Columns that
            start at 1 may hold anything finite.
        noise: Standard normal [b or 1, f, c, h, w]; where a column starts at level 1 it starts from this alone.
        levels: The matrix to follow.
        conditioning: What the denoiser is conditioned on.
        solver: How a step is made, such as `SOLVERS["euler"]`.
        fresh: Noise for stochastic solvers: `KeyedNoise`, or a function of how often each column moved [f, m].
        window: Which frames are in a call of the denoiser, for more frames than its network takes.
        state: Resume from here rather than from the first row; `noise` is not used then.

    Returns:
        The states, one after every step.

    Raises:
        InputError: For shapes that do not agree, a stochastic solver without fresh noise, or the state of another run.
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


def begin(denoiser: Denoiser, x: Float[Tensor, "b f c h w"], levels: Levels, solver: Solver) -> SamplerState:
    """The state before the first step with a given x, for `sample(..., state=begin(...))`.

    Args:
        denoiser: That will be sampled with.
        x: Frames at the first row of levels.
        levels: That will be followed.
        solver: That will be used.

    Returns:
        The state in row 0.
    """
    return _begin(x, levels.matrix, solver, denoiser.process)


def invert(
    denoiser: Denoiser,
    x: Float[Tensor, "b f c h w"],
    levels: Levels,
    conditioning: Conditioning,
    solver: Solver,
) -> Iterator[SamplerState]:
    """Follow the rows backwards from clean frames, to the noise that would have led to them (Song et al. 2020, 4.3).

    Args:
        denoiser: Predicts the clean signal.
        x: Clean frames.
        levels: As for sampling; they are followed from the last row to the first.
        conditioning: What the denoiser is conditioned on.
        solver: One without fresh noise.

    Returns:
        The states. The last one's x is the noise: with many rows, `sample` from it returns the frames.

    Raises:
        InputError: For a stochastic solver, or shapes that do not agree.
    """
    if solver.stochastic:
        raise InputError(f"inversion with {solver}; expected a solver without fresh noise")
    _check(denoiser, levels, x)
    matrix = levels.matrix.flip(0)
    return _follow(denoiser, _begin(x, matrix, solver, denoiser.process), matrix, conditioning, solver)


def reflow_pairs(
    denoiser: Denoiser, noise: Float[Tensor, "b f c h w"], levels: Levels, conditioning: Conditioning, solver: Solver
) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b f c h w"]]:
    """Noise and the frames it leads to, from which a network learns straighter paths (Liu et al. 2022, algorithm 1).

    Args:
        denoiser: Predicts the clean signal.
        noise: Standard normal.
        levels: The matrix to follow.
        conditioning: What the denoiser is conditioned on.
        solver: How a step is made.

    Returns:
        The noise, and the sampled frames of the same shape.
    """
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


def _begin(x: Tensor, matrix: Tensor, solver: Solver, process: Process) -> SamplerState:
    return SamplerState(0, x, x, (x,) * solver.history, _run_name(solver, process, matrix))


def _run_name(solver: Solver, process: Process, matrix: Tensor) -> str:
    digest = hashlib.sha256(matrix.detach().double().cpu().numpy().tobytes())
    digest.update(f"{solver} {process} {tuple(matrix.shape)}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class _Plan:
    """All that is worked out before the first step.

    levels    of each row, [b, f, m]
    denoise   (x, level, row) -> the clean estimate
    moves     which columns move in each row
    steps     the solver's steps, row by row
    fresh     noise of a step, for stochastic solvers
    restored  where columns stood between 0 and 1: at the end they are returned as they are known, clean
    """

    levels: tuple[Tensor, ...]
    denoise: RowDenoiser
    moves: MatrixMoves
    steps: CoefficientTable | ReferenceSteps
    corrects: bool
    fresh: FreshNoise | None
    restored: tuple[Tensor, Tensor] | None


def _follow(
    denoiser: Denoiser,
    state: SamplerState,
    matrix: Tensor,
    conditioning: Conditioning,
    solver: Solver,
    fresh: KeyedNoise | FreshNoise | None = None,
    window: Window | None = None,
    known: Tensor | None = None,
) -> Iterator[SamplerState]:
    """Check, work everything out, and begin the loop."""
    process, channels, x = denoiser.process, channels_of(denoiser), state.x
    if state.run != _run_name(solver, process, matrix):
        raise InputError(f"a state in row {state.row} of another run; expected the same levels, solver and process")
    if solver.stochastic and fresh is None:
        raise InputError(f"{solver} takes fresh noise; expected `fresh`, such as KeyedNoise(...)")
    moves = MatrixMoves.of(process, matrix)
    if isinstance(solver, TableSolver):
        steps = CoefficientTable.of(solver, moves, channels, x)
    else:
        steps = ReferenceSteps(solver, moves, channels)
    constant = (matrix == matrix[0]).all(0) & (matrix[0] > 0) & (matrix[0] < 1)
    restored = None
    if known is not None and bool(constant.any()):
        restored = per_channel(constant.to(x), channels) > 0, known
    draw = fresh.fresh if isinstance(fresh, KeyedNoise) else fresh
    plan = _Plan(
        matrix.to(x).expand(x.shape[0], *matrix.shape).unbind(1),
        windowed_denoiser(denoiser, matrix, conditioning, window),
        moves,
        steps,
        solver.corrects,
        draw if solver.stochastic else None,
        restored,
    )
    return _loop(plan, state)


def _loop(plan: _Plan, state: SamplerState) -> Iterator[SamplerState]:
    """Row after row: a clean estimate, then a step of the solver."""
    x, history, run, noise, last = state.x, state.history, state.run, None, len(plan.levels) - 2
    levels, denoise, steps, whole, fresh = plan.levels, plan.denoise, plan.steps, plan.steps.whole, plan.fresh
    corrects, restored = plan.corrects, plan.restored
    made = partial(tuple.__new__, SamplerState)  # SamplerState(...) would add a tenth to the time of a small step
    for row in range(state.row, last + 1):
        x0 = denoise(x, levels[row], row)
        if fresh is not None:
            noise = fresh(plan.moves.counts(row)).to(x)
        step = whole[row] or steps.row(row)
        history, y = step.step(history, x, x0, noise)
        if corrects and plan.moves.unended[row]:
            y = step.correct(x, x0, y, denoise(y, levels[row + 1], row))
        if row == last and restored is not None:
            y = torch.where(restored[0], restored[1], y)
        yield made((row + 1, y, x0, history, run))
        x = y
