"""Modalities: what a frame has for every pixel, each denoised together with the others and with a level of its own.

A codec turns signals into latent channels; a modality turns a clip's map into its signal and back. To add one, put a
`Modality` into `MODALITIES` and name it in a model's `codec.extra`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization


def _unchanged(signal: Tensor, normalization: Normalization) -> Tensor:
    return signal


@dataclass(frozen=True)
class Modality:
    """A map of a clip as a signal with a level of its own.

    Attributes:
        name: Of the map in a `Clip`, and of the modality everywhere.
        channels: Numbers per pixel.
        encode: (clip [*b, f], normalization [*b]) -> its signal [*b, f, channels, h, w] with NaN where it is unknown;
            None where the clip has no such map.
        decode: (signal, normalization) -> the map.
        loss_weight: Of its error beside the others' in training.
        unit: Whether the signal is in 0..1, so that codecs shift it to -1..1. Others are about that large already.
        fill: The signal where it is unknown and something has to stand there.
        unknown: The map where nothing is known; None = it is known everywhere, always.
    """

    name: str
    channels: int
    encode: Callable[[Clip, Normalization], Tensor | None]
    decode: Callable[[Tensor, Normalization], Tensor] = _unchanged
    loss_weight: float = 1.0
    unit: bool = False
    fill: float = 0.0
    unknown: float | None = torch.nan

    @staticmethod
    def of_map(name: str, channels: int, loss_weight: float = 1.0, unit: bool = False) -> "Modality":
        """A modality whose signal is the clip's map of that name as it is."""
        return Modality(name, channels, lambda clip, _: clip.maps().get(name), loss_weight=loss_weight, unit=unit)

    def signed(self, signal: Tensor) -> Tensor:
        """The signal as codecs fold it, in about -1..1."""
        return 2 * signal - 1 if self.unit else signal

    def unsigned(self, folded: Tensor) -> Tensor:
        """The inverse of `signed`."""
        return (folded + 1) / 2 if self.unit else folded


def _depth_signal(clip: Clip, normalization: Normalization) -> Tensor:
    return normalization.signal_from_depth(torch.where(clip.depth > 0, clip.depth, torch.nan))


MODALITIES: dict[str, Modality] = {
    "rgb": Modality("rgb", 3, lambda clip, _: clip.rgb, unit=True, unknown=None),
    "depth": Modality(
        "depth",
        1,
        _depth_signal,
        lambda signal, normalization: normalization.depth_from_signal(signal),
        loss_weight=0.3,
        fill=-1.0,  # far away
        unknown=0.0,
    ),
    "layout": Modality.of_map("layout", 3, loss_weight=0.3, unit=True),
}


def channels_of(modalities: Mapping[str, int], name: str) -> slice:
    """The latent channels of one of the modalities {name: channels}."""
    start = sum(modalities[before] for before in list(modalities)[: column(modalities, name)])
    return slice(start, start + modalities[name])


def column(modalities: Iterable[str], name: str) -> int:
    """The column of a modality in levels [rows, f, m], and in others whose columns are modalities in their order."""
    return list(modalities).index(name)


def signals_of(
    clip: Clip, normalization: Normalization, names: Iterable[str]
) -> tuple[dict[str, Float[Tensor, "*b f _ h w"]], dict[str, Bool[Tensor, "*b f 1 h w"]]]:
    """The signals of some modalities of clips.

    Args:
        clip: Clips [*b, f].
        normalization: Of each of them.
        names: Of the modalities.

    Returns:
        The signals by name, filled where they are unknown; and where they are known, of those that can be unknown.
    """
    signals, known = {}, {}
    for modality in (MODALITIES[name] for name in names):
        signal = modality.encode(clip, normalization)
        if signal is None:
            shape = (*clip.rgb.shape[:-3], modality.channels, *clip.rgb.shape[-2:])
            signal = clip.rgb.new_full(shape, torch.nan)
        if modality.unknown is not None:
            missing = signal.isnan()
            signal = signal.masked_fill(missing, modality.fill)
            known[modality.name] = ~missing.any(-3, keepdim=True)
        signals[modality.name] = signal
    return signals, known


def stacked_signals(clip: Clip, normalization: Normalization, names: Iterable[str]) -> Float[Tensor, "*b f c h w"]:
    """The signals of some modalities of clips as channels of one tensor, in about -1..1.

    Args:
        clip: Clips [*b, f].
        normalization: Of each of them.
        names: Of the modalities.

    Returns:
        Their signals in the order of the names, filled where they are unknown.
    """
    signals, _ = signals_of(clip, normalization, names)
    return torch.cat([MODALITIES[name].signed(signal) for name, signal in signals.items()], -3)


def maps_of(signals: Mapping[str, Tensor], normalization: Normalization) -> dict[str, Tensor]:
    """The maps that signals stand for, by name. Those in 0..1 are not clamped."""
    return {name: MODALITIES[name].decode(signal, normalization) for name, signal in signals.items()}
