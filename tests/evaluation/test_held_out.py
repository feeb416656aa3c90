"""Scores of held-out views, and what happens to a world when they fail."""

from dataclasses import replace

import pytest
import torch

from geometry.errors import Note
from tests.core.test_world import frames, world
from worldgen.core.world import HeldOut, World
from worldgen.evaluation import held_out
from worldgen.evaluation.held_out import scored


def test_scores_are_in_the_manifest_too() -> None:
    done = scored(world())
    assert done.held_out is not None and done.held_out.scores is not None and done.failed == {}
    assert done.manifest["held_out"] == done.held_out.scores and done.held_out.scores["names"] == ["a", "b"]


def test_rendered_views_and_the_nearest_given_image_are_compared_with_the_truth() -> None:
    """Off by a tenth and a hundredth: 20 and 40 dB; the given image that stands where the truth does by 0.05, 26 dB."""
    truth = frames(2)
    rendered = replace(truth, rgb=truth.rgb + torch.tensor([0.1, 0.01])[:, None, None, None])
    given = replace(truth, rgb=truth.rgb + 0.05)
    scores = scored(replace(world(), given=given, held_out=HeldOut(rendered, truth, ("a", "b")))).manifest["held_out"]
    assert scores["psnr_db"] == pytest.approx([20, 40], abs=1e-2) and scores["mean_psnr_db"] == pytest.approx(
        30, abs=0.01
    )
    assert scores["copy_nearest_psnr_db"] == pytest.approx([26.02, 26.02], abs=1e-2)
    assert scores["ssim"][1] > scores["copy_nearest_ssim"][1] > scores["ssim"][0]


def test_scoring_that_fails_leaves_the_world_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(held_out, "ssim", failing)
    before = world()
    with pytest.warns(Note, match="not scored: RuntimeError out of memory"):
        done = scored(before)
    assert torch.equal(done.clip.rgb, before.clip.rgb) and done.held_out is before.held_out
    assert done.failed == {"held_out scores": "RuntimeError out of memory"}


def test_a_world_without_held_out_images_is_unchanged() -> None:
    bare = World(**{**vars(world()), "held_out": None, "clip": frames(2)})
    assert scored(bare) is bare
