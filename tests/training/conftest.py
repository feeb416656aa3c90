"""What the tests of training share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.tiny import tiny_model
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.tasks import TaskConfig
from worldgen.training.config.train import TrainConfig


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., RunConfig]:
    """`run_of("name", steps=8, ...)`: a run of seconds whose output is a folder of that name."""

    def make(name: str = "run", tasks: TaskConfig = TaskConfig(), **train) -> RunConfig:  # noqa: B008 - frozen
        data = DataConfig(views=3, pool=2, reuse=2, supersample=1)
        options = {"steps": 8, "batch": 2, "frames": (2, 3), "warmup": 2, "precision": "fp32", "device": "cpu"}
        return RunConfig(tmp_path / name, tiny_model(), data, tasks, TrainConfig(**{**options, **train}))

    return make
