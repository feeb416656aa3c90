"""Guidance: another branch of levels."""

import torch
from torch import Tensor

from tests.oracles import Gaussian, blank
from worldgen.conditioning import Conditioning
from worldgen.sampling.guidance import guide_given

CHANNELS = (2, 1)
LEVEL = torch.tensor([[[0.0, 0.0], [0.6, 0.0], [0.6, 0.6]]]).double().expand(2, -1, -1)


def guided(scale: float, x: Tensor, noise: Tensor, gaussian: Gaussian) -> Tensor:
    return guide_given(gaussian.denoise, scale, noise, CHANNELS)(x, LEVEL, blank(2, 3))


def test_scale_1_is_the_denoiser_itself() -> None:
    denoiser = Gaussian.random(3, CHANNELS).denoise
    assert guide_given(denoiser, 1.0, torch.zeros(1), CHANNELS) is denoiser


def test_guidance_is_linear_in_its_scale_between_the_blind_and_the_seeing_branch() -> None:
    gaussian = Gaussian.random(3, CHANNELS)
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    blind, half, two = (guided(scale, x, noise, gaussian) for scale in (0.0, 0.5, 2.0))
    seeing = gaussian.denoise(x, LEVEL, blank(2, 3))
    assert torch.allclose(half, (blind + seeing) / 2)
    assert torch.allclose(two, 2 * seeing - blind)
    assert not torch.allclose(blind, seeing, atol=1e-3)


def test_the_blind_branch_depends_on_nothing_that_is_given() -> None:
    gaussian = Gaussian.random(3, CHANNELS)
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    given = gaussian.framed(gaussian.spread(LEVEL)) == 0
    other = torch.where(given, torch.randn_like(x), x)
    assert torch.equal(guided(0.0, x, noise, gaussian), guided(0.0, other, noise, gaussian))
    assert not torch.equal(guided(0.5, x, noise, gaussian), guided(0.5, other, noise, gaussian))


def test_both_branches_are_one_call_with_the_given_at_level_1_as_its_own_noise() -> None:
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append((x, level, conditioning))
        return x

    x, noise = torch.randn(2, 3, 3, 4, 4).double(), torch.randn(1, 3, 3, 4, 4).double()
    guide_given(denoiser, 2.0, noise, CHANNELS)(x, LEVEL, blank(2, 3))
    ((both, level, conditioning),) = calls
    assert torch.equal(both[:2], x) and torch.equal(level[:2], LEVEL)
    assert torch.equal(level[2:], torch.where(LEVEL == 0, 1.0, LEVEL))
    assert torch.equal(both[2:, 0], noise[:, 0].expand(2, -1, -1, -1)) and torch.equal(both[2:, 2], x[:, 2])
    assert conditioning.cameras.shape == (4, 3)


def test_with_nothing_given_there_is_one_branch_at_its_plain_cost() -> None:
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append(len(x))
        return 2 * x

    x = torch.randn(2, 3, 3, 4, 4)
    out = guide_given(denoiser, 2.0, x, CHANNELS)(x, torch.full((2, 3, 2), 0.5), blank(2, 3))
    assert torch.equal(out, 2 * x) and calls == [2]
