"""The batch of a training step: rendered scenes, sampled tasks, memory renders."""

from worldgen.training.batches.batch import Batch, Batches
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.batches.task_sampling import Tasks, draw_tasks

__all__ = [
    "Batch",
    "Batches",
    "SceneStream",
    "Tasks",
    "draw_tasks",
]
