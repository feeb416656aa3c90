"""Random streams from a counter-based generator: every draw is a function of its address, never of history.

The same address gives the same numbers whatever the batch, the order, the device or the resume point. Streams keep
purposes apart by construction: a training scene can never be a held-out one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch

from geometry.errors import InputError


class Stream(IntEnum):
    """What a random stream is for."""

    TRAINING_SCENES = 0
    HELD_OUT_SCENES = 1
    TRAINING = 2
    SAMPLING = 3
    WEIGHTS = 4


def stream(purpose: Stream, seed: int, *address: int) -> np.random.Generator:
    """The random stream at an address (Philox 4x64-10; Salmon et al. 2011).

    Args:
        purpose: What the numbers are for.
        seed: 0 to 2^63 - 1.
        address: Up to three numbers.

    Returns:
        numpy's generator at its start.

    Raises:
        InputError: A seed out of range.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"seed {seed}; expected a whole number from 0 to 2^63 - 1")
    assert len(address) <= 3, f"address {address} has more than three numbers"
    # The generator counts up in the first counter word, so the address goes into the other three.
    counter = [0, *address, *[0] * (3 - len(address))]
    key = np.array([seed, int(purpose)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=np.array(counter, dtype=np.uint64), key=key))


def normal(purpose: Stream, seed: int, address: tuple[int, ...], shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal float32 numbers of a stream, on the CPU."""
    return torch.from_numpy(stream(purpose, seed, *address).standard_normal(shape, dtype=np.float32))


def uniform(purpose: Stream, seed: int, address: tuple[int, ...], shape: tuple[int, ...]) -> torch.Tensor:
    """Uniform float32 numbers in [0, 1) of a stream, on the CPU."""
    return torch.from_numpy(stream(purpose, seed, *address).random(shape, dtype=np.float32))


def scene_stream(seed: int, index: int, family: int, held_out: bool) -> np.random.Generator:
    """The random stream of one scene of a family, of the training series or of the held-out one."""
    return stream(Stream.HELD_OUT_SCENES if held_out else Stream.TRAINING_SCENES, seed, index, family)


def scene_numbers(indices: list[int]) -> list[int]:
    """The numbers of some scenes of a series, checked. Raises InputError for a negative one, or none at all."""
    if min(indices, default=-1) < 0:
        raise InputError(f"scene numbers {indices[:4]}; expected 0 or more, at least one")
    return indices


@contextmanager
def fresh_weights(seed: int, *part: int) -> Iterator[None]:
    """Where torch modules are made whose weights are functions of a run's seed and of which part of the run they are;
    torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream(Stream.WEIGHTS, seed, *part).integers(2**31)))
        yield
