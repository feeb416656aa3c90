"""A training run as the dataclasses its YAML file is read into; the difference of two files is that of two runs."""

from worldgen.training.config.data import DataConfig
from worldgen.training.config.objectives import DistillConfig, RewardConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.config.train import TrainConfig, TrainingStage

__all__ = [
    "DataConfig",
    "DistillConfig",
    "RewardConfig",
    "RunConfig",
    "TaskConfig",
    "TrainConfig",
    "TrainingStage",
]
