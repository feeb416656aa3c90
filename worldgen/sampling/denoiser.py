"""`Denoiser`: what the sampler calls. It carries its process and its modalities, so neither is passed beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from geometry.values import as_value
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.process import Process

# (x [b f c h w], level [b f m], conditioning) -> the clean estimate x0 [b f c h w]
DenoisingFunction = Callable[[Tensor, Tensor, Conditioning], Tensor]


@runtime_checkable
class Denoiser(Protocol):
    """Predicts the clean signal x0 of noised latent frames, whatever its network predicts inside.

    process     how a level mixes signal and noise
    modalities  latent channels of each modality by name, in the order of the channels of x and of the columns of levels
    """

    @property
    def process(self) -> Process: ...

    @property
    def modalities(self) -> Mapping[str, int]: ...

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """The clean estimate x0 [b, f, c, h, w] of x [b, f, c, h, w] at levels [b, f, m]."""
        ...


@as_value
@dataclass(frozen=True)
class FunctionDenoiser:
    """A plain function as a `Denoiser`.

    Args:
        function: (x [b, f, c, h, w], level [b, f, m], conditioning) -> the clean estimate x0 [b, f, c, h, w].
        process: How a level mixes signal and noise.
        modalities: Latent channels of each modality by name, in order.
    """

    function: DenoisingFunction
    process: Process
    modalities: Mapping[str, int]

    @staticmethod
    def like(denoiser: Denoiser, function: DenoisingFunction) -> "FunctionDenoiser":
        """A function with the process and modalities of a denoiser, which it usually calls.

        Args:
            denoiser: The denoiser to take process and modalities from.
            function: (x, level, conditioning) -> x0, as above.

        Returns:
            The function as a `Denoiser`.
        """
        return FunctionDenoiser(function, denoiser.process, denoiser.modalities)

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return self.function(x, level, conditioning)


@dataclass(frozen=True)
class DenoiserWrapper:
    """Base of denoisers that call another one: its process and modalities are theirs."""

    denoiser: Denoiser

    @property
    def process(self) -> Process:
        """The inner denoiser's."""
        return self.denoiser.process

    @property
    def modalities(self) -> Mapping[str, int]:
        """The inner denoiser's."""
        return self.denoiser.modalities

    @property
    def channels(self) -> tuple[int, ...]:
        """Latent channels of each modality, in order."""
        return channels_of(self.denoiser)


@dataclass(frozen=True)
class HalfDenoiser(DenoiserWrapper):
    """The denoiser with matrix products in bfloat16."""

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        """Its clean estimate x0 [b, f, c, h, w]."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.denoiser(x, level, conditioning)


def channels_of(denoiser: Denoiser) -> tuple[int, ...]:
    """Latent channels of each modality, in order."""
    return tuple(denoiser.modalities.values())


@runtime_checkable
class CachingDenoiser(Denoiser, Protocol):
    """A denoiser that caches keys and values of finished frames, so that they are not computed again."""

    def append_to_cache(self, x: Tensor, conditioning: Conditioning) -> "CachingDenoiser":
        """The same denoiser with these clean frames in its cache as well."""
        ...


@runtime_checkable
class FrameSelectable(Protocol):
    """A denoiser with something of its own for each frame, such as a scale, or noise to hide the frame with."""

    def select_frames(self, chosen: list[int]) -> Denoiser:
        """The denoiser of some of the frames."""
        ...


def as_function(denoiser: Denoiser) -> DenoisingFunction:
    """What a call of the denoiser calls: a sampler's step is microseconds, so it takes the short way."""
    return denoiser.function if isinstance(denoiser, FunctionDenoiser) else denoiser.__call__


def caches(denoiser: Denoiser) -> TypeGuard[CachingDenoiser]:
    """Whether a denoiser is a `CachingDenoiser` (isinstance takes 20 us for it, as much as some steps)."""
    return hasattr(denoiser, "append_to_cache")


def of_frames(denoiser: Denoiser, chosen: list[int]) -> Denoiser:
    """The denoiser of some of the frames; one without anything of each frame's own serves any of them."""
    return denoiser.select_frames(chosen) if isinstance(denoiser, FrameSelectable) else denoiser
