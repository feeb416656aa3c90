"""`UNetConfig`: the shape of a `MultiViewUNet`."""

from dataclasses import dataclass, field

from geometry.errors import InputError
from worldgen.runtime.config import newer

# Parts by name, and the resolutions' divisors at which sources are looked up for them.
PARTS = {"volume": (4, 2), "blending": (1,), "look-up": (4, 2, 1)}


@dataclass(frozen=True)
class UNetConfig:
    """The network's shape. Latent frames are pixels: a codec of block 1.

    modalities       rgb and depth, 3 channels and 1
    widths           channels at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution
    planes           hypotheses of the cost volume, evenly spaced in inverse depth
    nearest          inverse depth of the last plane, in normalized units; the first is the sky
    match_channels   features that are matched, at 1/4 and at 1/2 of the resolution
    heads            of the attention across views
    sources          how many known frames are looked up in at most
    without          parts left out, for ablations: "volume" (nothing is matched), "blending" (no color is looked up) or
                     both, "look-up"
    memory_channels, text_width  as of every network; memory is not an input of this one
    """

    modalities: dict[str, int] = field(default_factory=lambda: {"rgb": 3, "depth": 1})
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    planes: int = 24
    nearest: float = 3.0
    match_channels: tuple[int, int] = (12, 8)
    heads: int = 4
    sources: int = 8
    memory_channels: int = 0
    text_width: int = 0
    without: tuple[str, ...] = newer(())

    @property
    def width(self) -> int:
        """Of the widest matrices."""
        return self.widths[-1]

    def __post_init__(self) -> None:
        if self.modalities != {"rgb": 3, "depth": 1}:
            raise InputError(f"modalities {self.modalities}; expected rgb: 3 and depth: 1, of a codec of block 1")
        if len(self.widths) != 5 or any(width < 8 or width % 8 for width in self.widths):
            raise InputError(f"widths {list(self.widths)}; expected five multiples of 8")
        if self.heads < 1 or self.width % self.heads or (self.width // self.heads) % 8:
            raise InputError(f"width {self.width} with {self.heads} heads; expected heads of a multiple of 8 channels")
        if self.planes < 8 or not self.nearest > 0 or min(self.match_channels) < 1 or self.sources < 1:
            raise InputError(
                f"{self.planes} planes up to {self.nearest}, {list(self.match_channels)} channels to match, "
                f"{self.sources} sources; expected at least 8, and more than 0 of the others"
            )
        if unknown := sorted(set(self.without) - set(PARTS)):
            raise InputError(f"a unet without {unknown}; expected without some of {', '.join(PARTS)}")
        if self.text_width < 0:
            raise InputError(f"text_width {self.text_width}; expected 0 or more")
        if self.memory_channels:
            raise InputError(f"memory_channels {self.memory_channels}; expected 0, a coarse clip is its input")
