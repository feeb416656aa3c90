"""Weights of errors by level."""

import pytest
import torch

from geometry.errors import InputError
from worldgen.training.weighting import WEIGHTINGS, weight


@pytest.mark.parametrize(
    ("name", "at_half", "at_most"), [("velocity", 4, 25), ("x0", 1, 1), ("snr", 1, 16), ("min_snr", 1, 5)]
)
def test_weights_by_name(name: str, at_half: float, at_most: float) -> None:
    t = torch.tensor([0.5, 0.2, 0.01, 1.0])
    value = weight(name, t, 0.2)
    assert value[0] == pytest.approx(at_half) and value[1] == pytest.approx(at_most, rel=1e-5)
    assert value[2] == value[1] and value[3] == (0 if "snr" in name else 1)


def test_an_unknown_weighting_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="'vsnr'; expected one of " + ", ".join(WEIGHTINGS)):
        weight("vsnr", torch.ones(1), 0.1)
