"""Spatial pyramids: the first steps on small images, the last on large ones (Jin et al. 2024, "Pyramidal Flow
Matching"): a list of sizes, each with its levels, and a jump between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Bool, Float
from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, channels_of
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.process import Process, per_channel
from worldgen.sampling.sampler import SamplerState, begin, sample
from worldgen.sampling.schedules import uniform
from worldgen.sampling.solvers.base import Solver


@as_value
@dataclass(frozen=True)
class PyramidStage:
    """Levels of the frames at one size of latents (h, w)."""

    hw: tuple[int, int]
    levels: Levels


@as_value
@dataclass(frozen=True)
class Pyramid:
    """Stages, each of twice the size of the one before. All but the last end above 0, in columns that move.

    Raises InputError for other sizes, and for a stage that begins too low for its noise to be white (`least_level`).
    """

    stages: tuple[PyramidStage, ...]
    process: Process

    def __post_init__(self) -> None:
        if not self.stages or self.stages[-1].levels.partial:
            raise InputError("a pyramid without stages, or whose last stays noised; expected a last one down to 0")
        for small, large in pairwise(self.stages):
            if large.hw != (2 * small.hw[0], 2 * small.hw[1]):
                raise InputError(f"stages of sizes {small.hw} and {large.hw}; expected twice the size in each")
            now, after = small.levels.matrix[-1], large.levels.matrix[0]
            least = least_level(now, self.process)
            if now.shape != after.shape or bool((after < least - 1e-6).any()):
                raise InputError(
                    f"a stage that begins at levels {after.flatten().tolist()} after {now.flatten().tolist()}; "
                    f"expected at least {[round(v, 4) for v in least.flatten().tolist()]}, where noise can be white"
                )

    @staticmethod
    def of(
        known: Bool[Tensor, "f m"],
        hw: tuple[int, int],
        steps: Sequence[int],
        ends: Sequence[float],
        process: Process,
    ) -> "Pyramid":
        """A stage for each number of steps, the last one of latents (h, w); known columns are given in all of them.

        ends  the level at which each stage but the last ends; the next begins at the least it can. More than 0

        Raises InputError for ends that do not fit, and sizes that can't be halved so often.
        """
        halvings = len(steps) - 1
        if len(ends) != halvings or halvings < 0:
            raise InputError(f"{len(ends)} ends of {len(steps)} stages; expected one for each but the last")
        if hw[0] % 2**halvings or hw[1] % 2**halvings:
            raise InputError(f"latents of {hw} with {len(steps)} stages; expected sides that can be halved so often")
        stages, top = [], torch.ones((), dtype=torch.float64)
        for n, (count, end) in enumerate(zip(steps, [*ends, 0.0])):
            if not 0 <= end < top or (end == 0) != (n == halvings):
                raise InputError(f"a stage from level {float(top):g} to {end:g}; expected one that falls, to above 0")
            schedule = (end + (top - end) * uniform(count)).float()
            matrix = torch.where(known, 0.0, schedule[:, None, None])
            size = (hw[0] // 2 ** (halvings - n), hw[1] // 2 ** (halvings - n))
            stages.append(PyramidStage(size, Levels(matrix, partial=n < halvings)))
            top = least_level(torch.tensor(end, dtype=torch.float64), process)
        return Pyramid(tuple(stages), process)

    def plot(self, modalities: Sequence[str] | None = None) -> Float[Tensor, "3 h w"]:
        """The stages' levels one after another, in lines."""
        matrix = torch.cat([stage.levels.matrix for stage in self.stages])
        return Levels(_falling(matrix), partial=True).plot(modalities)


def _falling(matrix: Tensor) -> Tensor:
    """For the eye: a stage begins at no higher level than the one before ended."""
    return matrix.cummin(0).values


def least_level(level: Tensor, process: Process) -> Tensor:
    """The least level at which upsampled frames of this level can be made to have white noise.

    Nearest-neighbor upsampling by 2 shares each number's noise out over a block of four: its mean has variance sigma^2
    where white noise of sigma' has sigma'^2 / 4. Brought to the next stage's share of signal, alpha' / alpha, it must
    not be more: sigma' / alpha' >= 2 sigma / alpha. For flow that is 2 t / (1 + t).
    """
    alpha, sigma = process.alpha_sigma(level.double())
    return torch.where(level == 0, 0.0, process.level_of(2 * sigma / alpha)).to(level.dtype)


def jump(
    x: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c y x"],
    now: Float[Tensor, "f m"],
    after: Float[Tensor, "f m"],
    channels: tuple[int, ...],
    process: Process,
    block: int = 1,
) -> Float[Tensor, "b f c y x"]:
    """Frames at the levels `now` as frames of twice the size at the levels `after`, with white noise again.

    noise  standard normal, of the larger size
    block  pixels on a side that a codec folds into channels (`PixelCodec.block`): images are enlarged, not latents

    x' = alpha' / alpha up(x) + sigma' (noise less its mean in each 2 x 2) + what is missing of sigma' in those means
    (the renoising of Jin et al. 2024, eq. 15, for any pair of levels `least_level` allows).
    """
    alpha, sigma = process.alpha_sigma(per_channel(now.double(), channels))
    alpha2, sigma2 = process.alpha_sigma(per_channel(after.double(), channels))
    gain = alpha2 / alpha
    missing = (sigma2.square() - 4 * (gain * sigma).square()).clamp_min(0).sqrt()
    large = repeat(_unfold(x, block), "... h w -> ... (h a) (w b)", a=2, b=2)
    white = _unfold(noise, block)
    mean = repeat(reduce(white, "... (h a) (w b) -> ... h w", "mean", a=2, b=2), "... h w -> ... (h a) (w b)", a=2, b=2)
    parts = (_fold(part, block) for part in (large, white - mean, mean))
    return sum(c.to(x) * part for c, part in zip((gain, sigma2, missing), parts))  # type: ignore[return-value]


def sample_pyramid(
    denoiser: Denoiser,
    known: Sequence[Float[Tensor, "b f c _ _"]],
    noise: Sequence[Float[Tensor, "b f c _ _"]],
    pyramid: Pyramid,
    conditioning: Conditioning,
    solver: Solver,
    block: int = 1,
    fresh: Sequence[KeyedNoise] | None = None,
) -> Iterator[tuple[int, SamplerState]]:
    """The stages one after another, yielding the stage's number and the state after every step.

    known, noise, fresh  as for `sample`, of each stage's size; noise of the stages is independent

    Given columns are taken from `known` in each stage, bit for bit. Raises InputError for a pyramid made for another
    process than the denoiser's.
    """
    x, process, channels = None, denoiser.process, channels_of(denoiser)
    if pyramid.process != process:
        raise InputError(f"a pyramid of {pyramid.process} with a denoiser of {process}; expected one process")
    for n, stage in enumerate(pyramid.stages):
        first = stage.levels.matrix[0]
        start = process.add_noise(known[n], noise[n], per_channel(first.to(known[n]), channels)).expand_as(known[n])
        if x is not None:
            moved = jump(x, noise[n], pyramid.stages[n - 1].levels.matrix[-1], first, channels, process, block)
            start = torch.where(per_channel(first.to(x), channels) == 0, known[n], moved)
        begun = begin(denoiser, start, stage.levels, solver)
        keyed = None if fresh is None else fresh[n]
        for state in sample(denoiser, known[n], noise[n], stage.levels, conditioning, solver, fresh=keyed, state=begun):
            x = state.x
            yield n, state


def _unfold(latent: Tensor, block: int) -> Tensor:
    return rearrange(latent, "... (c p q) y x -> ... c (y p) (x q)", p=block, q=block)


def _fold(image: Tensor, block: int) -> Tensor:
    return rearrange(image, "... c (y p) (x q) -> ... (c p q) y x", p=block, q=block)
