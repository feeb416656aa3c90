"""Processes: what a level means, and what networks may predict."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geometry.errors import InputError
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import EDM, TARGETS, VP, VP_SCHEDULES, Flow, Process, per_channel

PROCESSES = [Flow(), EDM(), *(VP(schedule=name) for name in VP_SCHEDULES)]


def test_each_modality_s_level_is_spread_over_its_own_channels() -> None:
    level = torch.rand(2, 3, 2)
    wide = per_channel(level, (3, 1))
    assert wide.shape == (2, 3, 4, 1, 1)
    assert torch.equal(wide[..., 0, 0], level[..., [0, 0, 0, 1]])


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_level_0_leaves_every_bit_and_level_1_nothing_of_the_signal(process: Process) -> None:
    x0, noise = torch.randn(2, 5), torch.randn(2, 5)
    assert torch.equal(process.add_noise(x0, noise, torch.zeros(1)), x0)
    hidden = process.add_noise(x0, noise, torch.ones(1))
    assert torch.equal(hidden, process.add_noise(x0 + 1, noise, torch.ones(1)))
    assert torch.corrcoef(torch.stack([hidden.flatten(), noise.flatten()]))[0, 1] > 0.999


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_noise_grows_with_the_level_and_a_ratio_has_one_level(process: Process) -> None:
    level = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    alpha, sigma = process.alpha_sigma(level)
    assert bool(((sigma / alpha).diff() > 0).all())
    assert torch.allclose(process.level_of(sigma / alpha), level, atol=1e-9)


@pytest.mark.parametrize("schedule", VP_SCHEDULES)
def test_vp_preserves_variance(schedule: str) -> None:
    level = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = VP(schedule=schedule).alpha_sigma(level)
    assert torch.allclose(alpha.square() + sigma.square(), torch.ones(11).double())


def test_vp_schedules_are_the_published_ones() -> None:
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    for name, betas in (
        ("linear", beta),
        ("scaled_linear", torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2),
    ):
        product = (1 - betas).cumprod(0).sqrt()
        level = torch.arange(1, 1001, dtype=torch.float64) / 1000
        assert torch.allclose(VP(schedule=name).alpha_sigma(level)[0], product, atol=2e-3), name
    half = VP(schedule="cosine").alpha_sigma(torch.tensor(0.5).double())[0]
    assert float(half) == pytest.approx(math.cos(math.pi / 2 * 0.508 / 1.008) / math.cos(math.pi / 2 * 0.008 / 1.008))
    for name in ("cosine", "zero_terminal"):
        assert VP(schedule=name).alpha_sigma(torch.ones(1).double())[0] == 0


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_motion_is_the_derivative_of_alpha_and_sigma_by_the_clock(process: Process) -> None:
    level, step = torch.linspace(0.2, 0.8, 4, dtype=torch.float64), 1e-5
    (clock, alpha, sigma), (later, alpha2, sigma2) = (
        (process.motion(t)[0], *process.alpha_sigma(t)) for t in (level - step, level + step)
    )
    _, d_alpha, d_sigma = process.motion(level)
    assert torch.allclose((alpha2 - alpha) / (later - clock), d_alpha, rtol=1e-4, atol=1e-6)
    assert torch.allclose((sigma2 - sigma) / (later - clock), d_sigma, rtol=1e-4, atol=1e-6)


@given(process=st.sampled_from(PROCESSES), target=st.sampled_from(TARGETS), level=st.floats(0.05, 0.95))
def test_what_any_network_predicts_gives_back_the_clean_signal(process: Process, target: str, level: float) -> None:
    x0, noise = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    t = torch.tensor(level).double()
    x = process.add_noise(x0, noise, t)
    predicted = process.predicted_from(x, x0, t, target)
    assert torch.allclose(process.x0_from(x, predicted, t, target), x0, atol=1e-7)
    alpha, sigma = process.alpha_sigma(t)
    wanted = {"x0": x0, "eps": noise, "score": -noise / sigma, "v": alpha * noise - sigma * x0}
    if target == "velocity":
        wanted[target] = process.motion(t)[1] * x0 + process.motion(t)[2] * noise
    if target in wanted:
        assert torch.allclose(predicted, wanted[target], rtol=1e-6, atol=1e-6)


def test_the_residual_of_the_best_linear_estimate_has_unit_variance() -> None:
    for process in (Flow(0.3), EDM(0.3), VP(0.3)):
        x0, noise = 0.3 * torch.randn(20_000).double(), torch.randn(20_000).double()
        for level in (0.1, 0.5, 0.9):
            t = torch.tensor(level).double()
            residual = process.predicted_from(process.add_noise(x0, noise, t), x0, t, "residual")
            assert float(residual.std()) == pytest.approx(1, abs=0.03), (process, level)


@pytest.mark.parametrize("process", [Flow(0.3), EDM(1.7), VP(0.5)], ids=str)
def test_a_preconditioned_network_returns_what_is_clean_bit_for_bit(process: Process) -> None:
    denoiser = process.precondition(lambda x, *_: 100 + 10 * x, {"rgb": 2, "depth": 1})
    x = torch.randn(2, 3, 3, 4, 4)
    level = torch.zeros(2, 3, 2)
    level[:, 1, 0] = 0.5
    out = denoiser(x, level, blank(2, 3))
    assert torch.equal(out[:, [0, 2]], x[:, [0, 2]]) and torch.equal(out[:, 1, 2:], x[:, 1, 2:])
    assert not torch.equal(out[:, 1, :2], x[:, 1, :2])


def test_the_network_predicts_the_clean_signal_itself() -> None:
    denoiser = Flow(0.3).precondition(lambda x, *_: torch.ones_like(x), {"rgb": 2, "depth": 1})
    x, level = torch.randn(4, 2, 3, 1, 1), torch.rand(4, 2, 2).clamp_min(0.01)
    assert torch.allclose(denoiser(x, level, blank(4, 2)), torch.full_like(x, 0.3))


@pytest.mark.parametrize("process", [Flow(0.3), EDM(0.3), VP(0.3)], ids=str)
def test_a_preconditioned_network_sees_unit_variance(process: Process) -> None:
    seen = []

    def network(x, *_):
        seen.append(x)
        return torch.zeros_like(x)

    level = torch.linspace(0.05, 1, 5)[None, :, None]
    x0, noise = 0.3 * torch.randn(4000, 5, 1, 1, 1), torch.randn(4000, 5, 1, 1, 1)
    x = process.add_noise(x0, noise, level[..., None, None])
    process.precondition(network, {"rgb": 1})(x, level.expand(4000, -1, -1), blank(4000, 5))
    assert torch.allclose(seen[0].std(0).flatten(), torch.ones(5), atol=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Flow(target="mu"),
        lambda: Flow(0.0),
        lambda: EDM(sigma_max=0.0),
        lambda: VP(schedule="square"),
        lambda: Flow(target="eps"),
        lambda: VP(target="score", schedule="cosine"),
    ],
)
def test_processes_of_impossible_options_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()
