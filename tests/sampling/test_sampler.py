"""The sampler against the Gaussian oracle, and what it promises about columns that are given or wait.

Deterministic solvers on a Gaussian are affine maps of the noise, so the images of 0 and of the unit vectors give the
exact mean and covariance of what is sampled.
"""

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from tests.oracles import Gaussian, blank
from worldgen.conditioning import Conditioning
from worldgen.sampling.guidance import guide_given
from worldgen.sampling.levels import Levels
from worldgen.sampling.sampler import keyed_noise, sample
from worldgen.sampling.solvers import SOLVERS, Euler, Heun, Solver

FRAMES, CHANNELS = 3, (2, 1)
KNOWN = torch.tensor([[True, True], [False, True], [False, False]])


def staircase(delay: float, steps: int) -> Levels:
    """Each frame starts `delay` of a ramp after the one before it: 1 is autoregressive, less is rolling."""
    time = torch.linspace(0, 1 + delay * (FRAMES - 1), round(steps * (1 + delay * (FRAMES - 1))) + 1)
    ramps = (1 + delay * torch.arange(FRAMES) - time[:, None]).clamp(0, 1)
    ramps[-1] = 0
    return Levels(ramps[..., None].expand(-1, -1, len(CHANNELS)))


def with_given(steps: int) -> Levels:
    return Levels.given(KNOWN, steps)


MODES = {
    "full sequence": lambda steps: Levels.full_sequence(FRAMES, len(CHANNELS), steps),
    "shifted": lambda steps: Levels.full_sequence(FRAMES, len(CHANNELS), steps, shift=2.0),
    "given": with_given,
    "autoregressive": lambda steps: staircase(1.0, steps),
    "rolling": lambda steps: staircase(0.5, steps),
}


def run(denoiser, known: Tensor, noise: Tensor, levels: Levels, solver: Solver) -> Tensor:
    """What the sampler ends with."""
    *_, last = sample(denoiser, known, noise, levels, blank(len(known), FRAMES), solver, CHANNELS)
    return last.x


def law_error(gaussian: Gaussian, values: Tensor, levels: Levels, solver: Solver) -> float:
    """The largest error of the mean or the covariance of what is sampled."""
    n = len(gaussian.mean)
    noise = torch.cat([torch.zeros(1, n), torch.eye(n)]).double()
    known = gaussian.framed(values.expand(n + 1, n))
    out = run(gaussian.denoise, known, gaussian.framed(noise), levels, solver).flatten(1)
    given = gaussian.spread((levels.still & (levels.matrix[0] == 0))[None]).squeeze(0)
    mean, covariance = gaussian.conditioned(given, values)
    matrix = out[1:] - out[0]
    return float(torch.cat([(out[0] - mean).abs(), (matrix.T @ matrix - covariance).abs().flatten()]).max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("solver", "order"), [(Euler(), 1), (Heun(), 2)])
def test_the_sampled_law_converges_to_the_exact_one_at_the_solver_s_order(mode, solver: Solver, order: int) -> None:
    gaussian, values = Gaussian.random(FRAMES, CHANNELS), torch.randn(9, dtype=torch.float64)
    coarse, fine = (law_error(gaussian, values, MODES[mode](steps), solver) for steps in (40, 80))
    assert fine < (0.03 if order == 1 else 1e-3)
    assert coarse / fine == pytest.approx(2**order, rel=0.2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_do_not_change_in_a_row_are_not_touched(mode: str, solver: str) -> None:
    gaussian, levels = Gaussian.random(FRAMES, CHANNELS), MODES[mode](4)
    known, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    start = torch.where(gaussian.framed(gaussian.spread(levels.matrix[:1].double())) == 0, known, noise)
    states = sample(gaussian.denoise, known, noise, levels, blank(2, FRAMES), SOLVERS[solver](), CHANNELS)
    before = start
    for row, state in enumerate(states, start=1):
        waits = gaussian.framed(gaussian.spread((levels.matrix[row] == levels.matrix[row - 1])[None])).expand_as(before)
        assert state.row == row
        assert torch.equal(state.x[waits], before[waits])
        assert not torch.isclose(state.x[~waits], before[~waits], atol=1e-12).any()
        before = state.x


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("solver", SOLVERS)
def test_given_columns_come_back_bit_identical(solver: str, scale: float) -> None:
    gaussian = Gaussian.random(FRAMES, CHANNELS)
    known, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    denoiser = guide_given(gaussian.denoise, scale, noise, CHANNELS)
    given = gaussian.framed(gaussian.spread(KNOWN[None])).expand_as(known)
    assert torch.equal(run(denoiser, known, noise, with_given(5), SOLVERS[solver]())[given], known[given])


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_network_sees_given_columns_bit_identical_in_every_call(solver: str) -> None:
    gaussian = Gaussian.random(FRAMES, CHANNELS)
    known, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    given = gaussian.framed(gaussian.spread(KNOWN[None])).expand_as(known)
    seen = []

    def careless(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)  # says nothing sensible of what is given, as a guided denoiser may

    run(careless, known, noise, with_given(4), SOLVERS[solver]())
    assert len(seen) >= 4
    assert all(torch.equal(x[given], known[given]) for x in seen)


def test_a_heun_step_calls_the_denoiser_twice_but_once_where_all_ramps_end() -> None:
    levels_seen = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        levels_seen.append(float(level.max()))
        return torch.zeros_like(x)

    x = torch.randn(1, FRAMES, 3, 1, 1)
    run(denoiser, x, x, Levels.full_sequence(FRAMES, 2, 2), Heun())
    assert levels_seen == [1.0, 0.5, 0.5]


def test_frames_of_one_batch_do_not_know_of_each_other() -> None:
    gaussian = Gaussian.random(FRAMES, CHANNELS)
    known, noise = (gaussian.framed(torch.randn(3, 9).double()) for _ in range(2))
    together = run(gaussian.denoise, known, noise, with_given(6), Heun())
    alone = run(gaussian.denoise, known[1:2], noise[1:2], with_given(6), Heun())
    assert torch.allclose(together[1:2], alone, atol=1e-12)


@pytest.mark.parametrize(("frames", "channels"), [(2, (2, 1)), (3, (2, 2)), (3, (3,))])
def test_levels_that_do_not_fit_the_frames_are_refused(frames: int, channels: tuple[int, ...]) -> None:
    x = torch.randn(1, frames, 3, 1, 1)
    with pytest.raises(InputError, match="expected them to agree"):
        next(sample(lambda y, *_: y, x, x, with_given(3), blank(1, frames), Euler(), channels))


def test_keyed_noise_is_the_same_however_it_is_chunked_and_ordered() -> None:
    whole = keyed_noise(7, [0, 1, 2, 3], (3, 1), (4, 5))
    parts = [keyed_noise(7, frames, (3, 1), (4, 5)) for frames in ([2, 3], [0], [1])]
    assert whole.shape == (1, 4, 4, 4, 5)
    assert torch.equal(torch.cat(parts, 1)[:, [2, 3, 0, 1]], whole)


def test_keyed_noise_differs_between_seeds_clips_frames_and_modalities() -> None:
    noise = [keyed_noise(seed, [0, 1], (2, 2), (4, 4), clip) for seed, clip in ((0, 0), (1, 0), (0, 1))]
    columns = torch.cat([part.unflatten(2, (2, 2)).flatten(0, 2) for part in noise]).flatten(1)
    correlation = torch.corrcoef(columns) - torch.eye(len(columns))
    assert correlation.abs().max() < 0.7


def test_keyed_noise_is_standard_normal() -> None:
    noise = keyed_noise(0, [0, 1], (16, 16), (16, 16)).flatten()
    quantiles = torch.tensor([0.02275, 0.15866, 0.5, 0.84134, 0.97725])
    assert torch.allclose(noise.quantile(quantiles), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), atol=0.08)
