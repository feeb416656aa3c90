"""Noise schedules: how a column comes down."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import Gaussian, blank
from worldgen.sampling.process import EDM, VP, Flow
from worldgen.sampling.sampler import sample
from worldgen.sampling.schedules import as_schedule, karras, log_snr, optimized, resolution_shift, shifted, uniform
from worldgen.sampling.solvers import DPM2M, Euler


@pytest.mark.parametrize("process", [Flow(), EDM(), VP()], ids=str)
def test_every_noise_schedule_falls_from_1_to_0(process) -> None:
    for steps in (1, 2, 7):
        for schedule in (uniform(steps), shifted(steps, 3.0), karras(steps, process), log_snr(steps, process)):
            assert len(schedule) == steps + 1 and schedule[0] == 1 and schedule[-1] == 0
            assert bool((schedule.diff() < 0).all())


def test_a_shift_keeps_both_ends_and_spends_more_steps_at_high_levels() -> None:
    plain, moved = uniform(8), shifted(8, 3.0)
    assert bool((moved[1:-1] > plain[1:-1]).all())
    assert moved[4] == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_the_shift_of_a_resolution_hides_as_much_of_a_constant_image() -> None:
    """Of the mean of n pixels at level t, the uncertainty is t / (1 - t) / sqrt(n): four times the pixels, shift 2."""
    shift = resolution_shift(64 * 64, 32 * 32)
    assert shift == 2
    t, moved = uniform(8)[1:-1], shifted(8, shift)[1:-1]
    assert torch.allclose(t / (1 - t) / 32, moved / (1 - moved) / 64)


def test_karras_and_log_snr_are_even_in_what_they_say() -> None:
    for process in (Flow(), EDM(), VP()):
        alpha, sigma = process.alpha_sigma(karras(8, process)[1:-1])
        root = (sigma / alpha) ** (1 / 7)
        assert torch.allclose(root.diff(), root.diff()[0], rtol=1e-6)
        assert float((sigma / alpha)[-1]) == pytest.approx(0.002)
        alpha, sigma = process.alpha_sigma(log_snr(8, process)[1:-1])
        gap = (sigma / alpha).log().diff()
        assert torch.allclose(gap, gap[0], rtol=1e-6)


@pytest.mark.parametrize(("order", "solver"), [(1, Euler()), (2, DPM2M())])
def test_an_optimized_noise_schedule_samples_its_oracle_better_than_the_others(order: int, solver) -> None:
    """The error is measured by sampling, not by the formula the schedule was optimized with."""
    variances = torch.tensor([1.0, 0.3, 0.05, 0.01, 0.002], dtype=torch.float64)
    gaussian = Gaussian(torch.zeros(5).double(), torch.diag(variances), 1, {"rgb": 5}, Flow())

    def error(schedule) -> float:
        noise = torch.eye(5, dtype=torch.float64)[:, None, :, None, None]
        levels = Levels(schedule[:, None, None])
        *_, last = sample(gaussian, noise, noise, levels, blank(5, 1), solver)
        return float((last.x.flatten(1).diagonal() / variances.sqrt()).log().square().mean())

    best = error(optimized(8, Flow(), variances, order))
    others = [error(schedule) for schedule in (uniform(8), karras(8, Flow()), log_snr(8, Flow()), shifted(8, 3.0))]
    assert best < 0.5 * min(others), others


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: uniform(0),
        lambda: shifted(4, 0.0),
        lambda: karras(4, Flow(), 0.0),
        lambda: karras(0, Flow()),
        lambda: karras(4, Flow(), rho=0.0),
        lambda: log_snr(0, Flow()),
        lambda: log_snr(4, Flow(), 2.0, 1.0),
        lambda: resolution_shift(0, 4),
        lambda: optimized(4, Flow(), torch.tensor([0.1, 0.0])),
        lambda: as_schedule(torch.tensor([1.0, 0.5])),
        lambda: as_schedule(torch.tensor([1.0, 0.5, 0.6, 0.0])),
        lambda: as_schedule(torch.tensor([1.0, float("nan"), 0.0])),
        lambda: as_schedule(torch.tensor([1.2, 0.0])),
    ],
)
def test_impossible_noise_schedules_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()
