"""Networks: latent frames, levels and conditioning to an estimate of the frames.

protocol          what a network is
backbones         the table of networks (`BACKBONES`)
dit               a diffusion transformer over the frames of a clip
attention, masks  how its tokens attend to each other
gradients         of what it does with all tokens, written out
cached_denoiser   frame by frame, finished frames cached
context_parallel  frames of a clip shared by processes
diffusers_denoiser  networks of diffusers
"""

from worldgen.models.network.backbones import BACKBONES, Backbone
from worldgen.models.network.dit import Cache, DiTConfig, MultiViewDiT, grow
from worldgen.models.network.protocol import Network, NetworkConfig

__all__ = ["BACKBONES", "Backbone", "Cache", "DiTConfig", "MultiViewDiT", "Network", "NetworkConfig", "grow"]
