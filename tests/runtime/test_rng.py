"""Random streams are functions of their address, and no two addresses share one."""

from itertools import product

import numpy as np
import pytest
import torch

from geometry.errors import InputError
from worldgen.runtime.rng import Stream, fresh_weights, normal, stream, uniform


def test_every_purpose_seed_and_address_has_numbers_of_its_own() -> None:
    addresses = list(product((0, 1, 2), repeat=3))  # (1, 2, 0) is not (2, 1, 0) nor (0, 1, 2)
    drawn = {
        (purpose, seed, *address): float(stream(purpose, seed, *address).random())
        for purpose in Stream
        for seed in (0, 1, 2**62)
        for address in addresses
    }
    assert len(set(drawn.values())) == len(drawn)


def test_an_address_gives_the_same_numbers_whatever_was_drawn_before() -> None:
    first = stream(Stream.TRAINING, 7, 3, 1).random(5)
    stream(Stream.TRAINING, 7, 3).random(1000)
    assert np.array_equal(first, stream(Stream.TRAINING, 7, 3, 1).random(5))
    assert np.array_equal(first, stream(Stream.TRAINING, 7, 3, 1, 0).random(5)), "what is left out is 0"


def test_a_long_stream_does_not_run_into_the_next_address() -> None:
    long = stream(Stream.SAMPLING, 0, 4).random(4096)
    for near in ((5,), (4, 1), (4, 0, 1)):
        assert not np.isin(stream(Stream.SAMPLING, 0, *near).random(64), long).any()


def test_numbers_are_normal_or_uniform_in_float32() -> None:
    many = normal(Stream.SAMPLING, 1, (2,), (100, 100))
    assert (
        many.dtype == torch.float32 and abs(float(many.mean())) < 0.05 and float(many.std()) == pytest.approx(1, 0.02)
    )
    even = uniform(Stream.SAMPLING, 1, (2,), (100, 100))
    assert 0 <= float(even.min()) < 0.01 and 0.99 < float(even.max()) < 1
    assert float(even.mean()) == pytest.approx(0.5, abs=0.02)


def test_fresh_weights_are_those_of_seed_and_part_and_leave_torch_s_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    made = []
    for seed, part in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with fresh_weights(seed, part):
            made.append(torch.rand(4))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2]) and not torch.equal(made[0], made[3])


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match="from 0 to 2"):
        stream(Stream.TRAINING, seed)
