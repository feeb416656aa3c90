"""The comparisons compare like with like, and the report on a GPU runs on any device."""

from pathlib import Path

import pytest
import torch

from benchmarks import model
from benchmarks.shared import gpu
from tests.models.tiny import tiny_model
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig


def test_contestants_do_the_work_that_is_timed() -> None:
    pytest.importorskip("diffusers")
    with torch.inference_mode():
        tokens = model.FRAMES * model.SIDE**2 * model.WIDTH
        runs = [model.block(False, text, torch.float32) for text in (False, True)] + [
            run for text in (False, True) for run in model.peers(text, torch.float32).values()
        ]
        for run in runs:
            assert run().numel() == tokens and bool(run().isfinite().all())


def test_the_report_on_a_device_has_training_sampling_and_where_the_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_compile", lambda *_: None)  # compilers take their time
    config = RunConfig(
        Path("unused"), tiny_model(), DataConfig(views=3, pool=1), train=TrainConfig(batch=2, frames=(3,))
    )
    used = gpu.utilization(config, "cpu", repeats=1)
    assert [row[0] for row in used.table.rows] == ["training step of 2 clips", "sampling call of one clip"]
    assert "ms a pool of 1 batches" in used.table.notes[1] and "aten::" in used.profile
    shares = [cell for row in used.table.rows for cell in row[3:]]
    assert len(shares) == 4 and all(isinstance(share, float) and 0 < share < 150 for share in shares)
