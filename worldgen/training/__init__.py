"""Training on endless scenes: configuration, data, loss, loop, checkpoints."""

from worldgen.training.config.run import RunConfig
from worldgen.training.engine.trainer import Trainer

__all__ = [
    "RunConfig",
    "Trainer",
]
