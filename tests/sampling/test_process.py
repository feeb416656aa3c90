"""The flow process and its preconditioning."""

import pytest
import torch

from tests.oracles import blank
from worldgen.sampling.process import Flow, per_channel


def test_each_modality_s_level_is_spread_over_its_own_channels() -> None:
    level = torch.rand(2, 3, 2)
    wide = per_channel(level, (3, 1))
    assert wide.shape == (2, 3, 4, 1, 1)
    assert torch.equal(wide[..., 0, 0], level[..., [0, 0, 0, 1]])


def test_noise_at_level_0_leaves_every_bit_and_at_level_1_nothing() -> None:
    x0, noise = torch.randn(2, 5), torch.randn(2, 5)
    assert torch.equal(Flow().add_noise(x0, noise, torch.zeros(1)), x0)
    assert torch.equal(Flow().add_noise(x0, noise, torch.ones(1)), noise)


def test_the_velocity_through_the_clean_frames_is_noise_minus_clean() -> None:
    x0, noise, level = torch.randn(2, 5).double(), torch.randn(2, 5).double(), torch.tensor(0.3).double()
    x = Flow().add_noise(x0, noise, level)
    assert torch.allclose(Flow().velocity(x, x0, level), noise - x0)


@pytest.mark.parametrize("data_std", [0.5, 0.3, 1.7])
def test_a_preconditioned_network_returns_what_is_clean_bit_for_bit(data_std: float) -> None:
    denoiser = Flow(data_std).precondition(lambda x, *_: 100 + 10 * x, (2, 1))
    x = torch.randn(2, 3, 3, 4, 4)
    level = torch.zeros(2, 3, 2)
    level[:, 1, 0] = 0.5
    out = denoiser(x, level, blank(2, 3))
    assert torch.equal(out[:, [0, 2]], x[:, [0, 2]]) and torch.equal(out[:, 1, 2:], x[:, 1, 2:])
    assert not torch.equal(out[:, 1, :2], x[:, 1, :2])


def test_the_network_predicts_the_clean_signal_itself() -> None:
    denoiser = Flow(0.3).precondition(lambda x, *_: torch.ones_like(x), (2, 1))
    x, level = torch.randn(4, 2, 3, 1, 1), torch.rand(4, 2, 2).clamp_min(0.01)
    assert torch.allclose(denoiser(x, level, blank(4, 2)), torch.full_like(x, 0.3))


def test_a_preconditioned_network_sees_unit_variance() -> None:
    flow, seen = Flow(0.3), []

    def network(x, *_):
        seen.append(x)
        return torch.zeros_like(x)

    level = torch.linspace(0.05, 1, 5)[None, :, None]
    x0, noise = 0.3 * torch.randn(4000, 5, 1, 1, 1), torch.randn(4000, 5, 1, 1, 1)
    flow.precondition(network, (1,))(flow.add_noise(x0, noise, level[..., None, None]), level, blank(4000, 5))
    assert torch.allclose(seen[0].std(0).flatten(), torch.ones(5), atol=0.05)
