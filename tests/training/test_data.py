"""Training batches: functions of the step."""

from dataclasses import replace

import pytest
import torch

from geometry.errors import InputError
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
    config, (section, seed) = run_of(), seeds
    other = replace(config, **{section: replace(getattr(config, section), seed=seed)})
    assert not equal(SceneStream(config, CPU).batch(0), SceneStream(other, CPU).batch(0))


def test_families_are_mixed_as_asked_and_a_place_in_the_stream_keeps_its_scene(run_of) -> None:
    def first_pool(families: dict[str, float]) -> Clip:
        config = run_of(batch=4)
        stream = SceneStream(replace(config, data=replace(config.data, families=families)), CPU)
        return stream._render_pool(0)

    room, soup = first_pool({"room": 1.0}), first_pool({"texture_soup": 1.0})
    both = first_pool({"room": 1.0, "texture_soup": 1.0})
    from_room = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(both.rgb, room.rgb)])
    from_soup = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(both.rgb, soup.rgb)])
    assert bool((from_room ^ from_soup).all()) and bool(from_room.any()) and bool(from_soup.any())
    assert both.cameras.time_s.shape == (8, 3)


def test_a_family_that_does_not_exist_is_refused(run_of) -> None:
    with pytest.raises(InputError, match="castle"):
        replace(run_of(), data=replace(run_of().data, families={"castle": 1.0}))
