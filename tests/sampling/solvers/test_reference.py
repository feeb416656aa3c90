"""Every solver's `reference_step` beside its table of coefficients, and solvers that have nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from tests.sampling.modes import FRAMES, KNOWN, MODALITIES, MODES, PROCESSES
from worldgen.core.conditioning import Conditioning
from worldgen.pipelines.novel_views import Sampling
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.oracles import Gaussian, blank, convergence_order
from worldgen.sampling.process import Flow, Process
from worldgen.sampling.sampler import SamplerState, invert, sample
from worldgen.sampling.solvers import DDIM, DDPM, SOLVERS, Euler, Solver, TableSolver, UniPC
from worldgen.sampling.solvers.base import SolverHistory
from worldgen.sampling.solvers.column_levels import ColumnLevels, Move

VARIANTS: dict[str, Solver] = {
    **SOLVERS,
    "ddim, eta 0.4": DDIM(0.4),
    "ddpm, large variance": DDPM("large"),
    "unipc of order 1": UniPC(1),
    "unipc of order 3": UniPC(3),
    "unipc, bh1": UniPC(3, "bh1"),
}


def waiting(steps: int) -> Levels:
    """Columns that stand still in the middle of their way, start and end in different rows; one never moves."""
    down = torch.linspace(1, 0, steps + 1)
    pause = torch.cat([down[:3], down[2:3].expand(4), down[3:]])
    late = torch.cat([down[:1].expand(4), down])
    early = torch.cat([down, down[-1:].expand(4)])
    still = torch.zeros_like(early)
    columns = [early, pause, late, pause, 0.7 * late, early, still, late]
    return Levels(torch.stack(columns, 1).unflatten(1, (FRAMES, 2)))


MATRICES = {**MODES, "waiting": waiting, "one step": lambda _: Levels.given(KNOWN, 1)}


@dataclass(frozen=True)
class ByReference(Solver):
    """A solver without its table."""

    solver: Solver

    @property
    def history(self) -> int:  # type: ignore[override]
        return self.solver.history

    @property
    def corrects(self) -> bool:  # type: ignore[override]
        return self.solver.corrects

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.solver.stochastic

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        return self.solver.reference_step(move, history, x, x0, noise)

    def reference_correct(self, move: Move, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
        return self.solver.reference_correct(move, x, x0, y, y0)


def denoiser(process: Process) -> FunctionDenoiser:
    """Something smooth in which frames depend on each other."""

    def tanh(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.tanh(x + 0.5 * x.mean(1, keepdim=True)) * (1 - level.mean(-1)[..., None, None, None] / 2)

    return FunctionDenoiser(tanh, process, MODALITIES)


def run(process: Process, levels: Levels, solver: Solver) -> Iterator[SamplerState]:
    keyed = KeyedNoise(5, (0, 1), tuple(range(FRAMES)), tuple(MODALITIES.values()), (2, 2))
    known = torch.randn(2, FRAMES, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    return sample(denoiser(process), known, keyed.start().double(), levels, blank(2, FRAMES), solver, fresh=keyed)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_table_is_the_reference_step_in_every_row_of_every_matrix(name: str, process: str) -> None:
    solver = VARIANTS[name]
    assert isinstance(solver, TableSolver)
    for mode in MATRICES if process == "flow" else ("rolling", "waiting", "one step"):
        levels = MATRICES[mode](5)
        for fast, slow in zip(*(run(PROCESSES[process], levels, made) for made in (solver, ByReference(solver)))):
            where = f"{mode}, row {fast.row}"
            for one, other in ((fast.x, slow.x), (fast.x0, slow.x0), *zip(fast.history, slow.history, strict=True)):
                assert torch.allclose(one, other, rtol=1e-9, atol=1e-9), where


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", [name for name, solver in VARIANTS.items() if not solver.stochastic])
def test_the_table_is_the_reference_step_also_upwards(name: str, process: str) -> None:
    x, levels = torch.randn(2, FRAMES, 3, 2, 2).double(), MODES["given"](6)
    runs = (
        invert(denoiser(PROCESSES[process]), x, levels, blank(2, FRAMES), solver)
        for solver in (VARIANTS[name], ByReference(VARIANTS[name]))
    )
    for fast, slow in zip(*runs):
        torch.testing.assert_close(fast.x, slow.x, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True)
class AdamsBashforth(Solver):
    """A solver of one's own, of second order: the estimate two moves ago and this one's, on flow alone."""

    history = 1

    def reference_step(
        self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
    ) -> tuple[SolverHistory, Tensor]:
        """Adams-Bashforth: the velocity of the move's middle, extrapolated from its start and the one before."""
        velocity = move.now.velocity(x, x0)
        if move.index == 0:
            return (velocity,), move.first_order(x, x0)
        before, now, after = move.earlier(1).now.clock, move.now.clock, move.after.clock
        share = (after - now) / (2 * (now - before))
        return (velocity,), x + (after - now) * (velocity + share * (velocity - history[0]))


def test_a_solver_that_has_only_a_reference_step_is_sampled_with_and_has_its_order() -> None:
    gaussian = Gaussian.random(FRAMES, MODALITIES, Flow())
    for mode in ("full sequence", "rolling", "given"):
        assert convergence_order(gaussian, MODES[mode], AdamsBashforth(), (16, 32))[1] > 1.6


def test_a_solver_registered_from_outside_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOLVERS, "mine", AdamsBashforth())
    assert Sampling(solver="mine").solver == "mine"
    with pytest.raises(InputError, match=r"solver 'magic'; expected one of euler, .*, mine"):
        Sampling(solver="magic")


def test_a_history_of_another_length_than_promised_is_an_error() -> None:
    @dataclass(frozen=True)
    class Forgetful(AdamsBashforth):
        def reference_step(
            self, move: Move, history: SolverHistory, x: Tensor, x0: Tensor, noise: Tensor
        ) -> tuple[SolverHistory, Tensor]:
            return (), x

    with pytest.raises(AssertionError, match="a history of 0, expected 1"):
        next(run(Flow(), MODES["given"](2), Forgetful()))


def test_the_euler_step_is_the_flow_s_ode() -> None:
    """x + (t' - t) (eps - x0), whatever is written above it."""
    x, x0 = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 4, 4).double()
    move = Move(ColumnLevels.of(Flow(), torch.tensor([0.8, 0.5, 0.0]).double().numpy()), 0)
    eps = (x - 0.2 * x0) / 0.8
    _, y = Euler().reference_step(move, (), x, x0, torch.zeros_like(x))
    torch.testing.assert_close(y, x + (0.5 - 0.8) * (eps - x0))
