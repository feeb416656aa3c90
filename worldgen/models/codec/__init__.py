"""Codecs: between signals of images and the latent frames a network predicts.

protocol              what a codec is
pixel                 space-to-depth, exact and without weights
vae, causal_layers    a convolutional autoencoder of images and videos
principal_components  the best linear codec, where the autoencoder starts
grouping              which frames share a latent frame
files                 codecs as folders
diffusers_codec       autoencoders of diffusers
"""

from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.codec.protocol import Codec

__all__ = ["Codec", "PixelCodec"]
