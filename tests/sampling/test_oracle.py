"""The oracle itself, against plain sampling and regression."""

import torch

from worldgen.sampling.oracles import Gaussian, blank
from worldgen.sampling.process import Flow

MODALITIES = {"rgb": 2, "depth": 1}


def test_the_oracle_is_the_regression_of_clean_on_noised_numbers() -> None:
    gaussian = Gaussian.random(2, MODALITIES, Flow())
    level = torch.tensor([[[0.3, 1.0], [0.7, 0.1]]], dtype=torch.float64)
    t = gaussian.spread(level)
    x0 = gaussian.mean + torch.randn(400_000, 6, dtype=torch.float64) @ torch.linalg.cholesky(gaussian.covariance).T
    x = (1 - t) * x0 + t * torch.randn_like(x0)
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    fit = torch.linalg.lstsq(torch.cat([x, ones], 1), x0).solution
    points = torch.randn(5, 6, dtype=torch.float64)
    truth = gaussian(gaussian.framed(points), level.expand(5, -1, -1), blank(5, 2)).flatten(1)
    assert torch.allclose(points @ fit[:6] + fit[6], truth, atol=0.01)


def test_the_oracle_knows_what_is_clean_and_nothing_of_what_is_noise() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x = gaussian.framed(torch.randn(4, 9, dtype=torch.float64))
    clean, noise = torch.zeros(4, 3, 2, dtype=torch.float64), torch.ones(4, 3, 2, dtype=torch.float64)
    assert torch.allclose(gaussian(x, clean, blank(4, 3)), x, atol=1e-9)
    assert torch.allclose(gaussian(x, noise, blank(4, 3)).flatten(1), gaussian.mean.expand(4, -1))


def test_the_oracle_with_given_columns_is_the_conditional_mean() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    given = torch.tensor([[True, False], [False, True], [False, False]])
    level = (~given)[None].double()
    values = torch.randn(9, dtype=torch.float64)
    mean, _ = gaussian.conditioned(gaussian.spread(given[None].double()).squeeze(0) > 0, values)
    estimate = gaussian(gaussian.framed(values[None]), level, blank(1, 3))
    assert torch.allclose(estimate.flatten(), mean, atol=1e-9)
