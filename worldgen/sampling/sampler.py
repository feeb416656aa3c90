"""The one sampling loop. What it does is decided by the matrix of levels it is given."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.conditioning import Conditioning
from worldgen.sampling.levels import Levels
from worldgen.sampling.process import Denoiser, Flow, per_channel
from worldgen.sampling.solvers import Solver
from worldgen.seeds import Domain, normal


@dataclass(frozen=True)
class State:
    """After a step: x [b, f, c, h, w] at the levels of `row`, and the clean estimate that step was made with."""

    row: int
    x: Tensor
    x0: Tensor


def sample(
    denoiser: Denoiser,
    known: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    levels: Levels,
    conditioning: Conditioning,
    solver: Solver,
    channels: tuple[int, ...],
    process: Flow = Flow(),  # noqa: B008 - frozen
) -> Iterator[State]:
    """Follow the rows of `levels`, yielding the state after every step; the last one's x is the result.

    known     signals of what is given; unknown columns may hold anything finite
    noise     standard normal
    channels  channels of each modality, in order

    Columns whose level does not change in a step are not touched, bit for bit. Progress, previews and stopping early
    belong to the caller.
    """
    frames, modalities = levels.matrix.shape[1:]
    if known.shape[1] != frames or known.shape[2] != sum(channels) or len(channels) != modalities:
        raise InputError(
            f"levels of {frames} frames and {modalities} modalities for frames of shape {tuple(known.shape)} with "
            f"modalities of {channels} channels; expected them to agree"
        )
    matrix = levels.matrix.to(known).expand(known.shape[0], *levels.matrix.shape).transpose(0, 1)
    x = process.add_noise(known, noise, per_channel(matrix[0], channels))
    for row, (now, after) in enumerate(pairwise(matrix), start=1):
        now_wide, after_wide = per_channel(now, channels), per_channel(after, channels)

        def estimate(y: Tensor, later: bool, now: Tensor = now, after: Tensor = after) -> Tensor:
            return denoiser(y, after if later else now, conditioning)

        y, x0 = solver.step(estimate, x, now_wide, after_wide)
        x = torch.where(after_wide == now_wide, x, y)
        yield State(row, x, x0)


def keyed_noise(
    seed: int, frames: list[int], channels: tuple[int, ...], hw: tuple[int, int], clip: int = 0
) -> Float[Tensor, "1 f c h w"]:
    """Standard normal noise of one clip, keyed by (seed, clip, frame, modality): the same however it is chunked."""
    parts = [
        torch.cat([normal(Domain.SAMPLING, seed, (clip, f, m), (c, *hw)) for m, c in enumerate(channels)])
        for f in frames
    ]
    return torch.stack(parts)[None]
