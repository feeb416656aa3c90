"""The mixture of tasks that training draws from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from worldgen.runtime.rng import Stream, stream
from worldgen.training.batches.task_sampling import Tasks, draw_tasks
from worldgen.training.config.tasks import PATTERNS, TaskConfig

RGB, DEPTH, LAYOUT = 0, 1, 2
NEVER = TaskConfig(**dict.fromkeys(PATTERNS, 0.0))
UNORDERED = ("given", "given_depth", "depth", "unknown", "independent")


def drawn(config: TaskConfig, batch: int = 2000, frames: int = 4, seed: int = 0, layout: bool = False) -> Tasks:
    modalities = ("rgb", "depth", "layout") if layout else ("rgb", "depth")
    return draw_tasks(config, batch, frames, 8, modalities, stream(Stream.TRAINING, seed))


def only(pattern: str) -> torch.Tensor:
    """Levels [b, f, m] of one pattern."""
    return drawn(replace(NEVER, **{pattern: 1.0})).level


def named(level: torch.Tensor) -> list[str]:
    """The pattern of each clip of levels, by what it looks like."""
    known = level == 0
    first = level[:, -1:, DEPTH:]  # the last frame's depth is never given, so the shared level is there
    independent = ((level != first) & ~known).flatten(1).any(1)
    return [
        "independent"
        if own
        else "depth"
        if rgb.all()
        else "unknown"
        if not rgb.any()
        else "given_depth"
        if d.any()
        else "given"
        for own, rgb, d in zip(independent, known[..., RGB], known[..., DEPTH])
    ]


def test_given_images_are_the_first_of_any_number_but_all_and_the_rest_shares_a_level() -> None:
    level = only("given")
    count = (level[..., RGB] == 0).sum(1)
    assert torch.equal(level[..., RGB] == 0, torch.arange(4) < count[:, None])
    assert torch.allclose(torch.bincount(count, minlength=5)[1:4] / 2000, torch.tensor(1 / 3), atol=0.04)
    assert set(count.tolist()) == {1, 2, 3}
    assert bool((level[..., DEPTH] > 0).all())
    assert torch.equal(level[:, 3], level[:, :1, DEPTH].expand(-1, 2))


def test_given_depth_is_given_where_the_image_is() -> None:
    known = only("given_depth") == 0
    assert torch.equal(known[..., RGB], known[..., DEPTH])
    assert set(known[..., RGB].sum(1).tolist()) == {1, 2, 3}


def test_in_the_depth_task_all_images_are_known_and_no_depth() -> None:
    level = only("depth")
    assert bool((level[..., RGB] == 0).all()) and bool((level[..., DEPTH] > 0).all())


def test_in_the_unknown_task_every_column_is_at_one_level_above_0() -> None:
    level = only("unknown")
    assert bool((level > 0).all()) and torch.equal(level, level[:, :1, :1].expand_as(level))


def test_independent_columns_have_levels_of_their_own() -> None:
    level = only("independent")
    assert bool((level > 0).all())
    columns = level.flatten(1)
    assert torch.corrcoef(columns.T).fill_diagonal_(0).abs().max() < 0.1


def test_each_pattern_is_drawn_in_proportion_to_its_weight() -> None:
    config = replace(NEVER, given=3.0, given_depth=2.0, depth=2.0, unknown=1.0, independent=2.0, top=0.0)
    names = named(drawn(config, batch=4000).level)
    share = np.array([names.count(name) / 4000 for name in UNORDERED])
    assert share == pytest.approx(np.array([0.3, 0.2, 0.2, 0.1, 0.2]), abs=0.03)


def test_cameras_are_dropped_and_noise_is_pure_as_often_as_configured() -> None:
    task = drawn(replace(NEVER, unknown=1.0, drop_cameras=0.2, top=0.35), batch=4000)
    assert float((~task.cameras_known).double().mean()) == pytest.approx(0.2, abs=0.03)
    assert float((task.level[:, 0, 0] == 1).double().mean()) == pytest.approx(0.35, abs=0.03)
    assert drawn(replace(NEVER, unknown=1.0, drop_cameras=0.0)).cameras_known.all()


def test_levels_are_logit_normal() -> None:
    level = drawn(replace(NEVER, unknown=1.0, top=0.0, level_mean=0.6, level_std=1.2), batch=4000).level[:, 0, 0]
    logit = torch.logit(level)
    assert float(logit.mean()) == pytest.approx(0.6, abs=0.08) and float(logit.std()) == pytest.approx(1.2, abs=0.08)


def test_the_same_stream_draws_the_same_tasks() -> None:
    first, again, other = drawn(TaskConfig()), drawn(TaskConfig()), drawn(TaskConfig(), seed=1)
    assert torch.equal(first.level, again.level) and torch.equal(first.cameras_known, again.cameras_known)
    assert not torch.equal(first.level, other.level)


def test_frames_of_patterns_without_an_order_are_any_different_views() -> None:
    frames = drawn(replace(NEVER, given=1.0)).frames
    assert frames.min() == 0 and frames.max() == 7
    assert all(len(set(row)) == 4 for row in frames.tolist())
    assert float((frames.diff(dim=1) < 0).double().mean()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("config", [replace(NEVER, prediction=1.0), replace(NEVER, given=1.0, causal=1.0)])
def test_frames_of_patterns_with_an_order_are_evenly_spaced_in_time(config: TaskConfig) -> None:
    steps = drawn(config).frames.diff(dim=1)
    assert bool((steps == steps[:, :1]).all()) and set(steps.flatten().tolist()) == {1, 2}
    assert drawn(config, frames=8).frames.tolist() == [list(range(8))] * 2000
    assert drawn(config, frames=1).frames.unique().tolist() == list(range(8))


def test_prediction_knows_the_first_frames_and_half_the_time_their_depth() -> None:
    known = only("prediction") == 0
    count = known[..., RGB].sum(1)
    assert torch.equal(known[..., RGB], torch.arange(4) < count[:, None]) and set(count.tolist()) == {1, 2, 3}
    with_depth = known[..., DEPTH].any(1)
    assert torch.equal(known[with_depth][..., RGB], known[with_depth][..., DEPTH])
    assert float(with_depth.double().mean()) == pytest.approx(0.5, abs=0.05)


def test_interpolation_knows_the_ends_and_frames_between_at_even_distances() -> None:
    known = (drawn(replace(NEVER, interpolation=1.0), frames=5).level == 0)[..., RGB]
    assert {tuple(row) for row in known.int().tolist()} == {(1, 0, 1, 0, 1), (1, 0, 0, 1, 1), (1, 0, 0, 0, 1)}


def test_the_layout_task_knows_layouts_alone_and_other_tasks_know_them_as_often_as_configured() -> None:
    level = drawn(replace(NEVER, layout=1.0), layout=True).level
    assert bool((level[..., LAYOUT] == 0).all()) and bool((level[..., :2] > 0).all())
    level = drawn(replace(NEVER, given=1.0, layout_given=0.3, top=0.0), layout=True, batch=4000).level[..., LAYOUT]
    assert float((level == 0).all(1).double().mean()) == pytest.approx(0.3, abs=0.03)
    assert float((level == 1).all(1).double().mean()) == pytest.approx(0.35, abs=0.03)
    assert drawn(replace(NEVER, layout=1.0, given=1.0)).level.shape == (2000, 4, 2), "no layouts without the modality"


def test_causal_clips_see_chunks_in_order_and_others_everything() -> None:
    tasks = drawn(replace(NEVER, given=1.0, causal=0.25), batch=4000, frames=6)
    causal = (tasks.order > 0).any(1)
    assert float(causal.double().mean()) == pytest.approx(0.25, abs=0.03)
    chunks = {tuple(row) for row in tasks.order[causal].tolist()}
    assert chunks == {(0, 1, 2, 3, 4, 5), (0, 0, 1, 1, 2, 2), (0, 0, 0, 1, 1, 1)}


def test_text_and_memory_are_dropped_as_often_as_configured() -> None:
    tasks = drawn(replace(NEVER, unknown=1.0, drop_text=0.2, memory=0.4), batch=4000)
    assert float((~tasks.text_known).double().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(tasks.memory.double().mean()) == pytest.approx(0.4, abs=0.03)
