"""The training loop, and what makes it resumable, distributed and interruptible.

trainer      a model's run
resumable    what every run does: steps, averages, checkpoints
run          the loop behind `worldgen train`: progress, log, sheets, interrupts
optimizer    Muon, AdamW and the learning rate
averages     averages of the weights whose length is chosen afterwards
budget       runs that have a number of seconds
checkpoint   files that are the old state or the new one
distributed  several processes
sheet        a contact sheet of held-out scenes
"""

from worldgen.training.engine.averages import average
from worldgen.training.engine.resumable import Resumable
from worldgen.training.engine.run import train
from worldgen.training.engine.trainer import Trainer

__all__ = [
    "Resumable",
    "Trainer",
    "average",
    "train",
]
