"""`ModelConfig`: what a model is, as its `config.json` and a run's `model` section say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geometry.errors import InputError
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.codec.protocol import Codec
from worldgen.models.network.backbones import BACKBONES
from worldgen.models.network.dit import DiTConfig
from worldgen.models.network.protocol import NetworkConfig
from worldgen.models.text import TextConfig
from worldgen.runtime.config import newer
from worldgen.sampling.defaults import SamplingDefaults
from worldgen.sampling.process import Flow

MULTIPLE_PX = 16  # of the sides of images that models of several sizes make


@dataclass(frozen=True)
class ModelConfig:
    """What a model is.

    size_px   side of the square images it was trained on
    frames    the most frames it was trained on at once
    codec     between images and latent frames, unless `codec_weights` names another; between a memory render and the
              network's input in any case
    codec_weights  a trained codec of images with the same block: an embedded name or a folder
                   (`worldgen.models.codec.files`)
    sampling  how it is sampled by default
    plucker_order, depth_signal  conventions of the weights; others are refused
    coarse    the first stage, an embedded name or a folder: its clips are what this model, a second stage, starts from
              (`worldgen.core.conditioning.Conditioning.coarse`); None = there is none
    largest_px  side of the largest images it makes, in multiples of 16; None = it makes those of size_px alone
    stage_steps  how many of a sample's steps the second stage takes at most; the first takes them all
    backbone  which network `network` describes, a key of `worldgen.models.network.backbones.BACKBONES`
    """

    name: str
    size_px: int = 64
    frames: int = 8
    codec: PixelCodec = field(default_factory=PixelCodec)
    codec_weights: str | None = None
    text: TextConfig = field(default_factory=TextConfig)
    network: NetworkConfig = field(default_factory=DiTConfig)
    process: Flow = field(default_factory=Flow)
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    plucker_order: str = "direction,moment"
    depth_signal: str = "scale/depth-1"
    backbone: str = newer("dit")
    coarse: str | None = newer(None)
    stage_steps: int = newer(4)
    largest_px: int | None = newer(None)

    @staticmethod
    def types_by_tag(data: Mapping[str, Any]) -> dict[str, type]:
        """The type of `network`, which `backbone` names (`worldgen.runtime.config.build`)."""
        return {"network": _network_config(data.get("backbone", "dit"))}

    def __post_init__(self) -> None:
        if not isinstance(self.network, _network_config(self.backbone)):
            raise InputError(
                f"backbone {self.backbone!r} with a network of {type(self.network).__name__}; expected "
                f"{_network_config(self.backbone).__name__}"
            )
        if self.codec_weights is None:
            self.check(self.codec)
        elif self.codec.layout:
            raise InputError(f"layouts with codec_weights {self.codec_weights!r}; expected codec.layout false")
        if self.network.memory_channels not in (0, self.codec.memory_channels):
            raise InputError(
                f"network.memory_channels {self.network.memory_channels}; expected 0 or {self.codec.memory_channels}, "
                "the channels of this codec's memory"
            )
        if self.largest_px is not None and (self.largest_px < self.size_px or self.largest_px % MULTIPLE_PX):
            raise InputError(
                f"largest_px {self.largest_px}; expected a multiple of {MULTIPLE_PX} from {self.size_px} up"
            )
        if self.stage_steps < 1:
            raise InputError(f"stage_steps {self.stage_steps}; expected 1 or more")
        if self.network.text_width != self.text.width:
            raise InputError(f"network.text_width {self.network.text_width} with text tokens of {self.text.width}")
        if self.coarse is not None and not BACKBONES[self.backbone].two_stages:
            able = [name for name, backbone in BACKBONES.items() if backbone.two_stages]
            raise InputError(f"coarse {self.coarse!r} with backbone {self.backbone!r}; expected {' or '.join(able)}")
        if self.size_px % self.codec.block:
            raise InputError(f"size_px {self.size_px}; expected a multiple of the codec's block {self.codec.block}")
        if self.size_px % self.multiple:
            raise InputError(
                f"size_px {self.size_px} of backbone {self.backbone!r}; expected a multiple of {self.multiple}"
            )
        if (self.plucker_order, self.depth_signal) != ("direction,moment", "scale/depth-1"):
            raise InputError(
                f"weights that read Plücker rays as {self.plucker_order} and depth as {self.depth_signal}; "
                "expected direction,moment and scale/depth-1, which this version knows"
            )

    @property
    def multiple(self) -> int:
        """What the sides of its frames, in pixels, are multiples of."""
        return self.codec.block * BACKBONES[self.backbone].multiple

    def size_within(self, hw: tuple[int, int]) -> tuple[int, int]:
        """The size of its frames where those of a second stage have height and width `hw`: its own on the shorter side,
        the nearest multiple on the other, neither larger than theirs."""
        multiple, shorter = self.multiple, min(self.size_px, *hw)
        sides = (min(round(side * shorter / min(hw) / multiple), side // multiple) for side in hw)
        height, width = (max(side, 1) * multiple for side in sides)
        return height, width

    def check_first_stage(self, first: "ModelConfig") -> None:
        """Raises InputError for a first stage that cannot make clips of all modalities and frames of this model's."""
        mine, its = list(self.network.modalities), list(first.network.modalities)
        if its != mine:
            raise InputError(f"a first stage of {its}; expected {mine}")
        if first.frames < self.frames:
            raise InputError(f"a first stage of up to {first.frames} frames; expected {self.frames} or more")

    def check(self, codec: Codec) -> None:
        """Raises InputError for a codec whose latents are not the network's input."""
        if codec.group > 1:
            raise InputError(
                f"a codec with {codec.group} frames in a latent frame; expected one of images (group 1), video codecs "
                "are not wired to the network yet"
            )
        if list(self.network.modalities.items()) != list(codec.modalities().items()):
            raise InputError(
                f"network modalities {self.network.modalities} with a codec of {codec.modalities()}; "
                "expected the same in the same order"
            )
        if codec.block != self.codec.block:
            raise InputError(f"codec.block {self.codec.block} with codec_weights of block {codec.block}; expected one")


def _network_config(backbone: Any) -> type:
    if backbone not in BACKBONES:
        raise InputError(f"backbone {backbone!r}; expected one of {', '.join(BACKBONES)}")
    return BACKBONES[backbone].config
