"""Training batches: functions of the step."""

import pytest
import torch

from worldgen.clip import Clip
from worldgen.training.data import SceneStream

CPU = torch.device("cpu")


def equal(a: Clip, b: Clip) -> bool:
    """Whether two clips are the same, bit for bit."""
    pairs = ((a.rgb, b.rgb), (a.depth, b.depth), (a.cameras.world_from_camera, b.cameras.world_from_camera))
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_batch_is_a_function_of_its_step_whatever_was_drawn_before(run_of) -> None:
    first, second = (SceneStream(run_of(), CPU) for _ in range(2))
    steps = list(range(10))  # two and a half pools
    forwards = {step: first.batch(step) for step in steps}
    for step in [9, 0, 5, 4, 1, 0, 8]:
        assert equal(second.batch(step), forwards[step])
    assert len({float(clip.rgb.sum()) for clip in forwards.values()}) == len(steps)


def test_each_pass_shows_every_scene_of_the_pool_once(run_of) -> None:
    stream = SceneStream(run_of(batch=3), CPU)
    # The field of view belongs to the scene, so it tells which scene a clip is of.
    passes = [[stream.batch(step).cameras.K[:, 0, 0, 0] for step in steps] for steps in ([0, 1], [2, 3])]
    one, two = (torch.cat(batches) for batches in passes)
    assert len(one.unique()) == 6
    assert torch.equal(one.sort().values, two.sort().values) and not torch.equal(one, two)


def test_the_next_pool_has_other_scenes(run_of) -> None:
    stream = SceneStream(run_of(), CPU)
    pools = [torch.cat([stream.batch(step).cameras.K[:, 0, 0, 0] for step in steps]) for steps in ([0, 1], [4, 5])]
    assert len(torch.cat(pools).unique()) == 8


def test_the_frames_of_a_clip_are_different_views_and_their_number_is_drawn(run_of) -> None:
    stream = SceneStream(run_of(), CPU)
    batches = [stream.batch(step) for step in range(12)]
    assert {len(clip) for clip in batches} == {2, 3}
    for clip in batches:
        for centres in clip.cameras.centres:
            assert torch.pdist(centres).min() > 1e-3


@pytest.mark.parametrize("seeds", [("data", 1), ("train", 1)])
def test_another_seed_gives_other_batches(run_of, seeds: tuple[str, int]) -> None:
    from dataclasses import replace

    config, (section, seed) = run_of(), seeds
    other = replace(config, **{section: replace(getattr(config, section), seed=seed)})
    assert not equal(SceneStream(config, CPU).batch(0), SceneStream(other, CPU).batch(0))
