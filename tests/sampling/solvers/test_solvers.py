"""Solvers against closed forms: the law they sample, the order at which they get there, their noise, their memory."""

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from tests.sampling.modes import FRAMES, MODALITIES, MODES, ORDERS, PROCESSES
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.oracles import Gaussian, Mixture, blank, convergence_order, on_log_snr
from worldgen.sampling.process import EDM, VP, Flow, Process
from worldgen.sampling.sampler import begin, invert, reflow_pairs, sample
from worldgen.sampling.solvers import DDIM, DDPM, DPM2M, SOLVERS, Consistency, Euler, Heun, Solver, UniPC
from worldgen.sampling.solvers.column_levels import ColumnLevels

CHANNELS = tuple(MODALITIES.values())
N = FRAMES * sum(CHANNELS)


def oracle(process: Process | None = None) -> Gaussian:
    """A random one of the usual size; by default of flow."""
    return Gaussian.random(FRAMES, MODALITIES, process or Flow())


def ended(denoiser: Denoiser, noise: Tensor, levels: Levels, solver: Solver, **rest) -> Tensor:
    """What sampling of the unknown ends with."""
    *_, last = sample(denoiser, 0 * noise, noise, levels, blank(len(noise), noise.shape[1]), solver, **rest)
    return last.x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ORDERS)
def test_the_sampled_law_converges_to_the_exact_one_at_the_solver_s_order(name: str, mode: str) -> None:
    solver, promised = ORDERS[name]
    errors, found = convergence_order(oracle(), MODES[mode], solver, (16, 32))
    assert errors[-1] < (0.1 if promised == 1 else 0.02)
    assert found > 0.8 * promised


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", ORDERS)
def test_any_solver_goes_with_any_process(name: str, process: str) -> None:
    solver, promised = ORDERS[name]
    _, found = convergence_order(oracle(PROCESSES[process]), MODES["rolling"], solver, (16, 32))
    assert found > 0.75 * promised


@pytest.mark.parametrize(("solver", "mode"), [(DDPM(), "rolling"), (DDIM(0.5), "full sequence")], ids=str)
def test_ancestral_sampling_has_the_exact_law_within_the_error_of_its_draws(solver: Solver, mode: str) -> None:
    """100 steps of 4,000 draws: the standard error of a mean is 0.6 / sqrt(4000) = 0.01, of a variance about 2%."""
    gaussian, draws, steps = oracle(), 4000, 100
    levels = MODES[mode](steps)
    noise = gaussian.framed(torch.randn(draws, N, dtype=torch.float64))
    out = ended(gaussian, noise, levels, solver, fresh=lambda moves: torch.randn_like(noise)).flatten(1)
    deviation = gaussian.covariance.diagonal().sqrt()
    assert ((out.mean(0) - gaussian.mean).abs() / deviation).max() < 4 / draws**0.5
    error = (out.T.cov() - gaussian.covariance).abs() / (deviation[:, None] * deviation)
    assert error.max() < 4.5 * (2 / draws) ** 0.5 + 1 / steps


def test_every_solver_ends_in_the_modes_of_a_mixture() -> None:
    """Means and covariances of 4,000 draws; deterministic ones from as many different noises."""
    mixture, draws = Mixture.random(2, 1, {"rgb": 2}, Flow()), 4000
    mean, covariance = mixture.moments()
    noise = torch.randn(draws, 1, 2, 1, 1, dtype=torch.float64)
    for name, solver in SOLVERS.items():
        if name != "consistency":
            out = ended(
                mixture, noise, Levels.full_sequence(1, 1, 40), solver, fresh=lambda _: torch.randn_like(noise)
            ).flatten(1)
            assert torch.allclose(out.mean(0), mean, atol=0.12), name
            assert torch.allclose(out.T.cov(), covariance, atol=0.2), name


def test_deterministic_solvers_agree_on_where_a_path_through_a_mixture_ends_at_their_order() -> None:
    mixture = Mixture.random(3, 2, {"rgb": 2}, Flow())
    x = torch.randn(8, 2, 2, 1, 1, dtype=torch.float64)

    def end(steps: int, solver: Solver) -> Tensor:
        levels = on_log_snr(Levels.full_sequence(2, 1, steps), steps, Flow())
        *_, last = sample(mixture, x, x, levels, blank(8, 2), solver, state=begin(mixture, x, levels, solver))
        return last.x

    truth = end(300, UniPC(3))
    for solver, promised in ORDERS.values():
        coarse, fine = ((end(steps, solver) - truth).abs().median() for steps in (60, 120))
        assert coarse / fine > 2 ** (0.75 * promised), solver


@pytest.mark.parametrize("process", [Flow(), VP(schedule="zero_terminal"), EDM()], ids=str)
def test_consistency_steps_with_the_exact_end_of_the_path_have_the_exact_law_in_any_number_of_steps(process) -> None:
    """As an affine map of its noises: the last step's alone decides, for each step forgets what was before."""
    gaussian = oracle(process)
    units = gaussian.framed(torch.cat([torch.zeros(1, N), torch.eye(N)]).double())
    for steps in (1, 2, 5):
        levels = Levels.full_sequence(FRAMES, len(CHANNELS), steps)
        out = ended(
            FunctionDenoiser.like(gaussian, gaussian.end_of_path), units * (steps == 1), levels, Consistency(),
            fresh=lambda moves, last=steps - 1: units * (int(moves[0, 0]) == last),
        ).flatten(1)  # fmt: skip
        matrix = (out[1:] - out[0]).T
        alpha, sigma = process.alpha_sigma(levels.matrix[-2, 0, 0].double())
        power, directions = torch.linalg.eigh(gaussian.covariance)
        gain = sigma**2 * power / (alpha**2 * power + sigma**2)
        assert torch.allclose(matrix @ matrix.T, directions * gain @ directions.T, atol=1e-10)


def test_consistency_steps_from_noise_have_the_exact_law_within_the_error_of_their_draws() -> None:
    gaussian, draws = oracle(), 20_000
    noise = gaussian.framed(torch.randn(draws, N, dtype=torch.float64))
    levels = Levels.full_sequence(FRAMES, len(CHANNELS), 3)
    denoiser = FunctionDenoiser.like(gaussian, gaussian.end_of_path)
    out = ended(denoiser, noise, levels, Consistency(), fresh=lambda _: torch.randn_like(noise)).flatten(1)
    deviation = gaussian.covariance.diagonal().sqrt()
    error = (out.T.cov() - gaussian.covariance).abs() / (deviation[:, None] * deviation)
    assert ((out.mean(0) - gaussian.mean).abs() / deviation).max() < 4 / draws**0.5
    assert error.max() < 4.5 * (2 / draws) ** 0.5


@pytest.mark.parametrize("solver", [Euler(), Heun(), DPM2M(), UniPC()], ids=str)
def test_inversion_finds_the_noise_that_leads_to_the_frames(solver: Solver) -> None:
    gaussian = oracle()
    levels = Levels.full_sequence(FRAMES, len(CHANNELS), 200)
    noise = gaussian.framed(torch.randn(3, N, dtype=torch.float64))
    frames = ended(gaussian, noise, levels, solver)
    *_, back = invert(gaussian, frames, levels, blank(3, FRAMES), solver)
    assert (back.x - noise).abs().max() < (0.1 if isinstance(solver, Euler) else 8e-3)


def test_stochastic_solvers_can_t_be_inverted_nor_run_without_fresh_noise() -> None:
    gaussian, levels = oracle(), Levels.full_sequence(FRAMES, len(CHANNELS), 3)
    x = gaussian.framed(torch.zeros(1, N).double())
    with pytest.raises(InputError, match="without fresh noise"):
        next(invert(gaussian, x, levels, blank(1, FRAMES), DDPM()))
    with pytest.raises(InputError, match="fresh"):
        ended(gaussian, x, levels, DDPM())


def test_one_step_along_straightened_paths_has_the_law_of_many() -> None:
    gaussian = Gaussian.random(1, {"rgb": 3}, Flow())
    start = torch.randn(4000, 1, 3, 1, 1, dtype=torch.float64)
    levels = Levels.full_sequence(1, 1, 100)
    noise, frames = reflow_pairs(gaussian, start, levels, blank(4000, 1), Heun())
    # The network of the reflowed pairs at level 1: the regression of frames on noise, which the coupling makes exact.
    inputs = torch.cat([noise.flatten(1), torch.ones(4000, 1, dtype=torch.float64)], 1)
    fit = torch.linalg.lstsq(inputs, frames.flatten(1)).solution

    def straight(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return (x.flatten(1) @ fit[:3] + fit[3])[:, None, :, None, None]

    once = ended(FunctionDenoiser.like(gaussian, straight), start, Levels.full_sequence(1, 1, 1), Euler())
    before = ended(gaussian, start, Levels.full_sequence(1, 1, 1), Euler())
    assert torch.allclose(once, frames, atol=1e-6)
    assert (before - frames).abs().mean() > 0.1


def test_a_column_that_waits_keeps_its_own_past() -> None:
    """A frame that waits in the middle of its noise schedule resumes as if it had not, in a solver with history."""
    gaussian = Gaussian(torch.zeros(2).double(), torch.diag(torch.tensor([0.3, 0.5]).double()), 2, {"rgb": 1}, Flow())
    schedule = torch.linspace(1, 0, 9, dtype=torch.float64)
    waits = torch.cat([schedule[:4], schedule[3:4].expand(3), schedule[4:]])
    other = torch.cat([schedule, schedule[-1:].expand(3)])
    noise = torch.randn(2, 2, 1, 1, 1, dtype=torch.float64)
    for solver in (DPM2M(), UniPC(), UniPC(3), Heun(), Euler()):
        paused = ended(gaussian, noise, Levels(torch.stack([waits, other], 1)[..., None]), solver)
        plain = ended(gaussian, noise, Levels(torch.stack([schedule, schedule], 1)[..., None]), solver)
        assert torch.allclose(paused, plain, atol=1e-12), solver


def test_a_column_knows_where_it_was_moves_ago() -> None:
    column = ColumnLevels.of(Flow(), np.array([1.0, 0.8, 0.5, 0.0]))
    assert len(column) == 3
    assert column.earlier(1)[0][1:] == pytest.approx([0.0, 0.2]) and np.isnan(column.earlier(1)[0][0])
    assert column.earlier(2)[0][2] == 0 and np.isnan(column.earlier(5)[0]).all()


@pytest.mark.parametrize("wrong", [lambda: DDIM(1.5), lambda: DDPM(variance="huge"), lambda: UniPC(4)])
def test_options_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()


def test_keyed_noise_serves_any_stochastic_solver() -> None:
    gaussian, levels = oracle(), MODES["keyframes"](4)
    keyed = KeyedNoise(3, (0, 1), tuple(range(FRAMES)), CHANNELS, (1, 1))
    for solver in (DDPM(), Consistency(), DDIM(0.3)):
        first, again = (ended(gaussian, keyed.start().double(), levels, solver, fresh=keyed) for _ in range(2))
        assert torch.equal(first, again)
        assert bool(first.isfinite().all())
