"""Training on endless scenes.

config      what a run is
batches     clips and their tasks, step by step
weighting   how much an error counts by its noise level
objectives  the loss, a sum of terms
engine      the loop: resumable, distributed, averaged
student     runs that distil a model into few steps
codec       runs that train codecs
blending    models between two
planning    what a run costs
"""

from worldgen.training.blending import blend
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.averages import average
from worldgen.training.engine.run import train
from worldgen.training.engine.trainer import Trainer
from worldgen.training.planning import Plan, describe, plan
from worldgen.training.student import StudentTrainer

__all__ = [
    "Plan",
    "RunConfig",
    "StudentTrainer",
    "Trainer",
    "average",
    "blend",
    "describe",
    "plan",
    "train",
]
