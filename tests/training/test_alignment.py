"""Geometry that tokens have to know: exact, learned, and gone from what a run leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from worldgen.clip import Clip
from worldgen.gauge import Gauge
from worldgen.model import WorldModel
from worldgen.training.alignment import TokenGeometry
from worldgen.training.config import RewardConfig
from worldgen.training.loop import Trainer


def wall(metres: float) -> Clip:
    """A wall so far ahead of two equal cameras, 8 pixels wide; the upper half of the first picture is sky."""
    poses = torch.eye(4).expand(1, 2, 4, 4)
    depth = torch.full((1, 2, 1, 8, 8), metres)
    depth[:, 0, :, :4] = torch.inf
    return Clip(torch.zeros(1, 2, 3, 8, 8), depth, Cameras.from_fov(poses, 60.0, (8, 8)))


def test_the_tokens_of_a_wall_know_where_it_is_and_how_it_faces() -> None:
    clip = wall(6.0)
    found = TokenGeometry.of(clip, Gauge.of(clip.cameras, torch.tensor([2.0])), block=4)
    assert found.values.shape == (1, 2, 4, 7) and found.known[0, 0].flatten().tolist() == [0, 0, 1, 1]
    for frame, token in ((0, 2), (0, 3), (1, 0), (1, 3)):
        point, normal, near = found.values[0, frame, token].split([3, 3, 1])
        # A quarter of the picture off the axis, at 3 scales; drawn into the ball, so nearer than 1.
        assert 0.5 < point[2] < 0.75 and (point[0] > 0) == (token % 2 == 1) and (point[1] > 0) == (token // 2 == 1)
        assert torch.allclose(normal, torch.tensor([0.0, 0.0, 1.0]), atol=1e-5)
        assert near == pytest.approx(1 / 3 - 1)
    assert not found.values[0, 0, :2].any()


def test_a_network_learns_its_geometry_for_a_part_of_the_run_that_leaves_no_trace(run_of, tmp_path: Path) -> None:
    trainer = Trainer(run_of(steps=40, alignment_weight=2.0, alignment_until=0.75, learning_rate=0.01))
    lost = [record.get("geometry") for record in trainer.steps()]
    assert None not in lost[:30] and lost[30:] == [None] * 10
    assert sum(lost[25:30]) < 0.6 * sum(lost[:5])
    trainer.averaged().save(tmp_path / "model")
    assert WorldModel.load(tmp_path / "model").state().keys() == WorldModel.create(trainer.config.model).state().keys()


def test_geometry_is_asked_of_the_middle_block_and_so_of_those_before(run_of) -> None:
    run = run_of(alignment_weight=1.0)
    network = replace(run.model.network, attention=("full",) * 4)
    trainer = Trainer(replace(run, model=replace(run.model, network=network)))
    assert trainer.alignment is not None
    trainer.loss()[1]["geometry"].backward()
    parts = [*trainer.model.network.blocks, trainer.alignment]
    learns = [any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()) for part in parts]
    assert learns == [True, True, True, False, True]


def test_a_reward_beside_it_is_refused(run_of) -> None:
    with pytest.raises(InputError, match="alignment_weight with a reward"):
        replace(run_of(alignment_weight=1.0), reward=RewardConfig())
