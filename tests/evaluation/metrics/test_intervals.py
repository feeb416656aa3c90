"""Bootstrap intervals against results known from statistics."""

import math

import pytest
import torch

from worldgen.evaluation.metrics.intervals import Interval, interval


def test_one_value_repeated_leaves_no_doubt() -> None:
    assert interval(torch.full((9,), 1.5)) == Interval(1.5, 1.5, 1.5, 9)


def test_the_interval_is_about_two_standard_errors_either_side() -> None:
    values = torch.randn(400) * 3 + 10
    result = interval(values)
    error = float(values.std()) / 20
    mean = float(values.mean())
    assert result.mean == pytest.approx(mean, abs=1e-4)
    assert result.low == pytest.approx(mean - 1.96 * error, abs=0.3 * error)
    assert result.high == pytest.approx(mean + 1.96 * error, abs=0.3 * error)


def test_the_same_values_give_the_same_interval_and_another_seed_another() -> None:
    values = torch.rand(20)
    assert interval(values, 1) == interval(values, 1)
    assert interval(values, 1) != interval(values, 2)


def test_scenes_without_a_value_are_left_out() -> None:
    with_gaps = torch.tensor([1.0, math.nan, 2.0, math.nan, 4.0])
    assert interval(with_gaps) == interval(torch.tensor([1.0, 2.0, 4.0]))
    assert interval(torch.full((3,), math.nan)) == Interval(None, None, None, 0)


def test_what_is_not_finite_is_none() -> None:
    result = interval(torch.tensor([math.inf, math.inf]))
    assert (result.mean, result.scenes) == (None, 2)
