"""Keyed noise: a function of (seed, clip, frame, modality) and of how often the column moved, with no generator."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry.shapes import Float
from worldgen.runtime.rng import Stream, normal

_MODALITIES = 64  # at most, so that a modality and a number of moves are one number


@dataclass(frozen=True)
class KeyedNoise:
    """Standard normal noise of clips and frames, the same however they are batched, ordered, chunked or computed.

    Args:
        seed: Of all of it.
        clips: Numbers of the clips.
        frames: Numbers of the frames.
        channels: Latent channels of each modality, in order.
        hw: Height and width of a latent frame.
    """

    seed: int
    clips: tuple[int, ...]
    frames: tuple[int, ...]
    channels: tuple[int, ...]
    hw: tuple[int, int]

    def start(self) -> Float[Tensor, "b f c h w"]:
        """The noise sampling begins with; float32, on the CPU."""
        return self.fresh(np.zeros((len(self.frames), len(self.channels)), dtype=int))

    def fresh(self, moves: np.ndarray) -> Float[Tensor, "b f c h w"]:
        """The noise of each column's next step after N moves [f, m] of it: 0 is `start`, -1 is none (zeros)."""
        assert len(self.channels) <= _MODALITIES, f"{len(self.channels)} modalities"
        noise = torch.zeros(len(self.clips), len(self.frames), sum(self.channels), *self.hw)
        for b, clip in enumerate(self.clips):
            for f, frame in enumerate(self.frames):
                for m, part in enumerate(noise[b, f].split(list(self.channels))):
                    if moves[f, m] >= 0:
                        address = (clip, frame, m + _MODALITIES * int(moves[f, m]))
                        part.copy_(normal(Stream.SAMPLING, self.seed, address, tuple(part.shape)))
        return noise


def keyed_noise(
    seed: int, frames: list[int], channels: tuple[int, ...], hw: tuple[int, int], clip: int = 0
) -> Float[Tensor, "1 f c h w"]:
    """The noise one clip begins with (`KeyedNoise.start`).

    Args:
        seed: Of the noise.
        frames: Numbers of the frames.
        channels: Latent channels of each modality, in order.
        hw: Height and width of a latent frame.
        clip: Number of the clip.

    Returns:
        Standard normal noise [1, f, c, h, w], float32, on the CPU.
    """
    return KeyedNoise(seed, (clip,), tuple(frames), channels, hw).start()
