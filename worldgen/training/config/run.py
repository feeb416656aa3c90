"""A training run: one file that says everything about it."""

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from geometry.errors import InputError
from worldgen.models.config import ModelConfig
from worldgen.training.config import checks
from worldgen.training.config.data import DataConfig
from worldgen.training.config.objectives import DistillConfig, RewardConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.config.train import TrainConfig, TrainingStage


@dataclass(frozen=True)
class RunConfig:
    """A training run's file (`worldgen train`).

    Args:
        output: Folder for everything the run leaves.
        model: What is trained.
        data: Where the clips come from.
        tasks: What each clip is trained for.
        train: How long, how fast, on what.
        reward: Fine-tuning on a reward; None = none.
        distill: Train a student of `train.start_from` instead of a model; None = a model.

    Raises:
        InputError: A run that cannot work, before anything of it starts.
    """

    output: Path
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    tasks: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    reward: RewardConfig | None = None
    distill: DistillConfig | None = None

    def __post_init__(self) -> None:
        problems = chain(
            checks.student(self.train, self.reward, self.distill),
            checks.training(self.train, self.reward),
            checks.backbone(self.train, self.model, self.reward, self.distill),
            checks.data_and_tasks(self.data, self.tasks, self.train.seed, self.model.codec.layout),
            checks.stages(self.stages, self.model, self.data.views, self.reward),
        )
        for problem in problems:
            raise InputError(problem)

    @property
    def stages(self) -> tuple[TrainingStage, ...]:
        """All stages of the run in order."""
        t = self.train
        before = sum(stage.steps for stage in t.curriculum)
        return (*t.curriculum, TrainingStage(t.steps - before, self.model.size_px, t.batch, t.frames))

    def stage_at(self, step: int) -> tuple[int, int, TrainingStage]:
        """The stage of a step: its number, its first step, and what it is."""
        first, stages = 0, self.stages
        for number, stage in enumerate(stages[:-1]):
            if step < first + stage.steps:
                return number, first, stage
            first += stage.steps
        return len(stages) - 1, first, stages[-1]
