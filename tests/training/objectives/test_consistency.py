"""Cross-view consistency of predicted images."""

from dataclasses import replace

import pytest
import torch

from tests.models.tiny import awake, tiny_model
from worldgen.models.world_model import WorldModel
from worldgen.training.batches.batch import Batches
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.objectives.consistency import disagreement
from worldgen.training.objectives.objective import Objective
from worldgen.training.objectives.term import Progress
from worldgen.training.objectives.terms import build_terms


def test_true_images_agree_across_views_and_shuffled_ones_do_not(run_of) -> None:
    config = run_of(frames=(3,))
    config = replace(config, model=replace(config.model, size_px=64), data=replace(config.data, supersample=3))
    clip = SceneStream(config, torch.device("cpu")).footage(0).clip
    one = torch.ones(clip.cameras.shape)
    true = disagreement(clip.rgb, clip, one)
    other = disagreement(clip.rgb.flip(0), clip, one)
    assert true < 0.1 * other
    assert disagreement(torch.full_like(clip.rgb, 0.3), clip, one) < 1e-10
    assert disagreement(clip.rgb, clip, 2 * one) == pytest.approx(2 * float(true), rel=1e-5)


def test_the_consistency_loss_reaches_the_network_and_adds_to_the_rest(run_of) -> None:
    model, run = WorldModel.create(tiny_model()), run_of(consistency_weight=2.0, frames=(3,))
    awake(model.network).requires_grad_(True)
    batch = Batches(run, torch.device("cpu")).at(0)
    total, parts = Objective(model, build_terms(model, run))(batch, Progress())
    without, few = Objective(model, build_terms(model, run_of()))(batch, Progress())
    assert [*few, "consistency"] == [*parts] and parts["consistency"] > 0
    assert float(total) == pytest.approx(float(without + 2 * parts["consistency"]), rel=1e-5)
    parts["consistency"].backward()
    assert model.network.get_parameter("head.rgb.weight").grad is not None
