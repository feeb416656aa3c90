"""Training of codecs: images or videos with depth to latent frames and back."""

from worldgen.training.codec.config import CodecLoss, CodecRun
from worldgen.training.codec.run import train_codec
from worldgen.training.codec.trainer import CodecTrainer

__all__ = [
    "CodecLoss",
    "CodecRun",
    "CodecTrainer",
    "train_codec",
]
