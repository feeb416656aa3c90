"""`PixelCodec`: space-to-depth, exact and without weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.modalities import MODALITIES
from worldgen.runtime.config import newer


@dataclass(frozen=True)
class PixelCodec:
    """Space-to-depth by `block` pixels: exact, and needs no weights.

    Attributes:
        block: Pixels per latent on a side.
        layout: Whether clips' layout maps are a modality.
        extra: Names of further modalities (`worldgen.core.modalities.MODALITIES`), after rgb, depth and layout.

    Each modality has channels * block^2 latent channels, in about -1..1.
    """

    block: int = 8
    layout: bool = False
    extra: tuple[str, ...] = newer(())

    def __post_init__(self) -> None:
        names = self._names()
        unknown = sorted(set(names) - set(MODALITIES))
        if unknown or len(set(names)) < len(names):
            raise InputError(f"codec.extra {list(self.extra)}; expected each once, of {', '.join(MODALITIES)}")

    @property
    def group(self) -> int:
        """Frames per latent frame: every frame is alone."""
        return 1

    def modalities(self) -> dict[str, int]:
        """Latent channels of each modality, in their order."""
        return {name: MODALITIES[name].channels * self.block**2 for name in self._names()}

    @property
    def memory_channels(self) -> int:
        """Latent channels of `encode_memory`: color, depth, and how much is known."""
        return (MODALITIES["rgb"].channels + MODALITIES["depth"].channels + 1) * self.block**2

    def encode(self, signals: Mapping[str, Float[Tensor, "*b f _ h w"]]) -> Float[Tensor, "*b f c y x"]:
        """Fold pixels into channels.

        Args:
            signals: By name, rgb among them.

        Returns:
            Latent frames; zeros for a modality that is missing.

        Raises:
            InputError: When a side is not a multiple of the block.
        """
        height, width = signals["rgb"].shape[-2:]
        if height % self.block or width % self.block:
            raise InputError(f"images of {width}x{height} pixels; expected sides that are multiples of {self.block}")
        parts = []
        for name, channels in self.modalities().items():
            if name in signals:
                parts.append(self._fold(MODALITIES[name].signed(signals[name])))
            else:
                parts.append(torch.zeros_like(parts[0][..., :1, :, :]).expand_as(parts[0][..., :channels, :, :]))
        return torch.cat(parts, -3)

    def decode(self, latent: Float[Tensor, "*b f c y x"]) -> dict[str, Tensor]:
        """Unfold channels into pixels.

        Args:
            latent: As `encode` returns it.

        Returns:
            The signal of every modality, not clamped.
        """
        modalities = self.modalities()
        parts = zip(modalities, latent.split([*modalities.values()], -3))
        return {name: MODALITIES[name].unsigned(self._unfold(part)) for name, part in parts}

    def encode_memory(
        self,
        rgb: Float[Tensor, "*b f 3 h w"],
        depth_signal: Float[Tensor, "*b f 1 h w"],
        visible: Float[Tensor, "*b f 1 h w"],
    ) -> Float[Tensor, "*b f c y x"]:
        """A render of the 3D memory for the network.

        Args:
            rgb: Colors in 0..1.
            depth_signal: The depth as a signal (`worldgen.core.normalization`).
            visible: How much of each pixel it knows, 0..1.

        Returns:
            Color, depth and visibility folded; exactly zero where nothing is visible.
        """
        known = visible * torch.cat([MODALITIES["rgb"].signed(rgb), MODALITIES["depth"].signed(depth_signal)], -3)
        return self._fold(torch.cat([torch.where(visible > 0, known, 0.0), visible], -3))

    def encode_known(self, known: Mapping[str, Float[Tensor, "*b f 1 h w"]]) -> Float[Tensor, "*b f c y x"]:
        """How much (0..1) of each number of the latent frames is known.

        Args:
            known: How much of each pixel, of at least one modality; the others are known everywhere.

        Returns:
            Latent frames of shares.
        """
        channels = {name: MODALITIES[name].channels for name in self._names()}
        folded = {
            name: self._fold(mask.expand(*mask.shape[:-3], channels[name], -1, -1)) for name, mask in known.items()
        }
        one = next(iter(folded.values()))
        everywhere = one.new_ones(())
        parts = [
            folded[name] if name in folded else everywhere.expand(*one.shape[:-3], count, *one.shape[-2:])
            for name, count in self.modalities().items()
        ]
        return torch.cat(parts, -3)

    def _names(self) -> tuple[str, ...]:
        return ("rgb", "depth", *(("layout",) if self.layout else ()), *self.extra)

    def _fold(self, image: Tensor) -> Tensor:
        return rearrange(image, "... c (y p) (x q) -> ... (c p q) y x", p=self.block, q=self.block)

    def _unfold(self, latent: Tensor) -> Tensor:
        return rearrange(latent, "... (c p q) y x -> ... c (y p) (x q)", p=self.block, q=self.block)
