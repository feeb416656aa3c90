"""Geometry that tokens have to know: exact, learned, and gone from what a run leaves."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.errors import InputError
from geometry.rotation.transforms import rigid, rotation_about
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization
from worldgen.models.world_model import WorldModel
from worldgen.training.config.objectives import RewardConfig
from worldgen.training.engine.trainer import Trainer
from worldgen.training.objectives.alignment import TokenGeometry

TURN = 0.3  # radians


def wall(metres: float) -> Clip:
    """A wall that far before the first of two cameras, 8 pixels wide, somewhere in the world. The second stands beside
    it and is turned to the side. Unknown are the first image's lower half, and all about one pixel in the second's
    corner."""
    turn = rigid(rotation_about(torch.tensor([0.0, 1.0, 0.0]), torch.tensor(TURN)), torch.tensor([1.0, 0.0, 0.0]))
    world = rigid(rotation_about(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(0.7)), torch.tensor([3.0, -2.0, 5.0]))
    cameras = Cameras.from_fov(world @ torch.stack([torch.eye(4), turn])[None], 60.0, (8, 8))
    # Depth of the wall z = metres, along each camera's rays.
    rays = camera_directions(cameras, pixel_centers((8, 8)))
    across = rays[..., 2] * math.cos(TURN) - rays[..., 0] * math.sin(TURN)
    depth = metres / torch.cat([rays[:, :1, ..., 2], across[:, 1:]], 1)[:, :, None]
    depth[:, 0, :, 4:] = torch.inf
    corner = depth[0, 1, 0, 1, 1].clone()
    depth[:, 1, :, :4, :4] = 0
    depth[:, 1, :, 1, 1] = corner
    return Clip(torch.zeros(1, 2, 3, 8, 8), depth, cameras)


def test_tokens_know_where_a_wall_is_and_how_it_faces_in_the_axes_of_the_first_camera() -> None:
    clip = wall(6.0)
    found = TokenGeometry.of(clip, Normalization.of(clip.cameras, torch.tensor([2.0])), block=4)
    assert found.values.shape == found.known.shape == (1, 2, 4, 7)
    for frame, token in ((0, 0), (0, 1), (1, 1), (1, 2), (1, 3)):
        point, normal, _ = found.values[0, frame, token].split([3, 3, 1])
        assert torch.allclose(normal, torch.tensor([0.0, 0.0, 1.0]), atol=1e-4), (frame, token)
        # At 3 scales; drawn into the ball, so nearer than 1.
        assert 0.4 < point[2] < 0.75 and point.norm() < 1
        if frame == 0:
            assert (point[0] > 0) == (token == 1) and point[1] < 0
    # The first camera looks straight at it: everything is as deep.
    assert torch.allclose(found.values[0, 0, :2, 6], torch.tensor(1 / 3 - 1))


def test_what_is_not_known_does_not_count_and_a_normal_needs_neighbors() -> None:
    clip = wall(6.0)
    found = TokenGeometry.of(clip, Normalization.of(clip.cameras, torch.tensor([2.0])), block=4)
    assert not found.known[0, 0, 2:].any() and not found.values[0, 0, 2:].any()
    # The last row before the unknown has no slope.
    assert found.known[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 0.75, 0.75, 0.75, 1])
    one = 1 / 16  # pixel of a token
    assert found.known[0, 1, 0].tolist() == pytest.approx([one, one, one, 0, 0, 0, one])


def test_a_network_learns_its_geometry_for_a_part_of_the_run_that_leaves_no_trace(run_of, tmp_path: Path) -> None:
    trainer = Trainer(run_of(steps=40, alignment_weight=2.0, alignment_until=0.75, learning_rate=0.01))
    lost = [record.get("geometry") for record in trainer.steps()]
    losses = [value for value in lost if value is not None]
    assert losses == lost[:30] and len(lost) == 40
    assert sum(losses[25:]) < 0.6 * sum(losses[:5])
    trainer.averaged().save(tmp_path / "model")
    assert WorldModel.load(tmp_path / "model").state().keys() == WorldModel.create(trainer.config.model).state().keys()


def test_geometry_is_learned_by_the_middle_block_and_so_by_those_before(run_of) -> None:
    run = run_of(alignment_weight=1.0)
    network = replace(run.model.network, attention=("full",) * 4)
    trainer = Trainer(replace(run, model=replace(run.model, network=network)))
    trainer.loss()[1]["geometry"].backward()
    parts = [*trainer.model.network.blocks, trainer.terms["alignment"]]
    learns = [any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()) for part in parts]
    assert learns == [True, True, True, False, True]


def test_a_reward_beside_it_is_refused(run_of) -> None:
    with pytest.raises(InputError, match="alignment_weight with a reward"):
        replace(run_of(alignment_weight=1.0), reward=RewardConfig())


def test_the_length_of_an_alignment_that_is_not_there_is_nothing_to_a_run(run_of) -> None:
    without, other = (Trainer(run_of(alignment_until=share)).identity for share in (0.6, 0.9))
    aligned = {Trainer(run_of(alignment_weight=1.0, alignment_until=share)).identity for share in (0.6, 0.9)}
    assert without == other and len(aligned | {without}) == 3


def test_it_learns_with_products_in_bfloat16(run_of) -> None:
    record = next(Trainer(run_of(alignment_weight=1.0, precision="bf16")).steps())
    exact = next(Trainer(run_of(alignment_weight=1.0)).steps())
    assert record["geometry"] == pytest.approx(exact["geometry"], rel=0.02) and record["gradient_norm"] > 0
