"""The table of networks a model can have, by the tag `backbone` of its config."""

from collections.abc import Callable
from dataclasses import dataclass

from worldgen.models.network.dit import DiTConfig, MultiViewDiT, grow
from worldgen.models.network.protocol import Network
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.network import MultiViewUNet, same_shape


@dataclass(frozen=True)
class Backbone:
    """A kind of network.

    config  type of its config: a frozen dataclass that satisfies `worldgen.models.network.protocol.NetworkConfig`
    build   (config, checkpointing, context) -> a network with fresh weights (torch's global generator). checkpointing
            recomputes activations in the backward pass; context is this process's place among those that share a clip's
            frames (`worldgen.models.network.context_parallel.Context`), None = it has all of them
    grow    (network, config, checkpointing, context) -> the network with inputs and outputs added, for training on;
            None = it cannot
    multiple  what the sides of its latent frames are multiples of
    two_stages  whether it starts from what a first stage makes (`worldgen.core.conditioning.Conditioning.coarse`)
    shares_frames  whether processes can share a clip's frames (`context`)
    """

    config: type
    build: Callable[..., Network]
    grow: Callable[..., Network] | None = None
    multiple: int = 1
    two_stages: bool = False
    shares_frames: bool = True


BACKBONES: dict[str, Backbone] = {
    "dit": Backbone(DiTConfig, MultiViewDiT, grow),
    "unet": Backbone(UNetConfig, MultiViewUNet, same_shape, multiple=16, two_stages=True, shares_frames=False),
}
