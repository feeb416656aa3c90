"""Training batches: functions of the step."""

from dataclasses import replace

import pytest
import torch

from geometry.camera.lenses import LensKind
from geometry.errors import InputError
from tests.models.tiny import BLOCK, tiny_config
from worldgen.core.clip import Clip
from worldgen.data import Sample, write_shard
from worldgen.models.codec.pixel import PixelCodec
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.config.train import TrainingStage
from worldgen.training.engine.trainer import Trainer

CPU = torch.device("cpu")


def equal(a: Clip, b: Clip) -> bool:
    """Whether two clips are the same, bit for bit."""
    pairs = ((a.rgb, b.rgb), (a.depth, b.depth), (a.cameras.world_from_camera, b.cameras.world_from_camera))
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_batch_is_a_function_of_its_step_whatever_was_drawn_before(run_of) -> None:
    first, second = (SceneStream(run_of(), CPU) for _ in range(2))
    steps = list(range(10))  # two and a half pools
    forwards = {step: first.footage(step).clip for step in steps}
    for step in [9, 0, 5, 4, 1, 0, 8]:
        assert equal(second.footage(step).clip, forwards[step])
    # A pool of two scenes a place serves four steps: within it a step may be met again, with other frames.
    assert len({float(clip.rgb.sum()) for clip in forwards.values()}) >= 7


def test_each_pass_shows_every_scene_of_the_pool_once(run_of) -> None:
    stream = SceneStream(run_of(batch=3), CPU)
    # The field of view belongs to the scene, so it tells which scene a clip is of.
    passes = [[stream.footage(step).clip.cameras.K[:, 0, 0, 0] for step in steps] for steps in ([0, 1], [2, 3])]
    one, two = (torch.cat(batches) for batches in passes)
    assert len(one.unique()) == 6
    assert torch.equal(one.sort().values, two.sort().values) and not torch.equal(one, two)


def test_the_next_pool_has_other_scenes(run_of) -> None:
    stream = SceneStream(run_of(), CPU)
    pools = [
        torch.cat([stream.footage(step).clip.cameras.K[:, 0, 0, 0] for step in steps]) for steps in ([0, 1], [4, 5])
    ]
    assert len(torch.cat(pools).unique()) == 8


def test_ranks_share_a_batch_and_render_nothing_else(run_of) -> None:
    config = run_of(batch=4)
    whole = SceneStream(config, CPU)
    ranks = [SceneStream(config, CPU, rank, 2) for rank in range(2)]
    for step in (0, 3, 5):
        parts = [rank.footage(step) for rank in ranks]
        shared = torch.cat([part.clip.rgb for part in parts])
        assert torch.allclose(shared, whole.footage(step).clip.rgb, atol=1e-5)
        assert parts[0].captions + parts[1].captions == whole.footage(step).captions
    assert len(ranks[0].render_pool(0, 0).clip.rgb) == 4, "two places of two scenes each"
    with pytest.raises(InputError, match="a batch of 4 for 3 ranks"):
        SceneStream(config, CPU, 0, 3).footage(0)


def test_stages_follow_one_another_with_their_own_sizes_and_scenes(run_of) -> None:
    config = run_of(steps=8, batch=2, curriculum=(TrainingStage(2, 8, 3, (1,)), TrainingStage(1, 16, 2, (2,))))
    assert [config.stage_at(step)[:2] for step in (0, 1, 2, 3, 7)] == [(0, 0), (0, 0), (1, 2), (2, 3), (2, 3)]
    stream = SceneStream(config, CPU)
    shapes = [tuple(stream.footage(step).clip.rgb.shape) for step in (0, 2, 3)]
    assert shapes == [(3, 3, 3, 8, 8), (2, 3, 3, 16, 16), (2, 3, 3, 16, 16)]
    assert not torch.equal(stream.footage(2).clip.rgb, stream.footage(3).clip.rgb)
    with pytest.raises(InputError, match="the stages' steps are part"):
        run_of(steps=3, curriculum=(TrainingStage(3, 16, 2, (2,)),))
    with pytest.raises(InputError, match=r"curriculum\[0\].size_px 10"):
        run_of(curriculum=(TrainingStage(3, 10, 2, (2,)),))


def test_every_scene_has_a_caption_and_a_layout_where_the_model_has_one(run_of) -> None:
    config = run_of()
    codec = PixelCodec(BLOCK, layout=True)
    model = replace(config.model, codec=codec, network=tiny_config(layout=3 * BLOCK**2))
    footage = SceneStream(replace(config, model=model), CPU).footage(0)
    assert all("table" in caption or "ground" in caption for caption in footage.captions), footage.captions
    layout = footage.clip.layout
    assert layout is not None and layout.shape == footage.clip.rgb.shape and layout.std() > 0.05


def test_a_share_of_the_clips_comes_from_shards(run_of, tmp_path) -> None:
    config = run_of(batch=8)
    real = SceneStream(run_of(seed=9), CPU).footage(0).clip[0]
    real = Clip(torch.full_like(real.rgb, 0.25), torch.zeros_like(real.depth), real.cameras)
    write_shard(tmp_path / "shards" / "000000.tar", [Sample("one", real, "a gray room", "test", ("a", "b", "c"))])
    data = replace(config.data, shards=tmp_path / "shards", shards_share=0.5)
    stream = SceneStream(replace(config, data=data), CPU)
    gray = torch.stack([(stream.footage(step).clip.rgb - 0.25).abs().amax((1, 2, 3, 4)) < 2e-3 for step in range(12)])
    assert 0.35 < gray.double().mean() < 0.65
    assert stream.footage(3).captions.count("a gray room") == int(gray[3].sum())
    with pytest.raises(InputError, match="expected at least 3"):
        clip = real.frames(slice(0, 2))
        write_shard(tmp_path / "short" / "000000.tar", [Sample("one", clip, "", "test", ("a", "b"))])
        SceneStream(replace(config, data=replace(data, shards=tmp_path / "short", shards_share=1.0)), CPU).footage(0)


def test_a_share_of_the_clips_is_recorded_through_lenses_and_the_others_stay_as_they_were(run_of) -> None:
    config = run_of(batch=6)
    config = replace(config, data=replace(config.data, families={"room": 1.0, "tabletop": 1.0}))
    plain = SceneStream(config, CPU).render_pool(0, 0).clip
    half = SceneStream(replace(config, data=replace(config.data, lenses=0.5)), CPU).render_pool(0, 0).clip
    assert plain.cameras.lens is None and half.cameras.lens is not None
    straight = half.cameras.lens.kind == LensKind.PINHOLE
    assert bool((straight == straight[:, :1]).all()), "one lens a clip"
    assert 0 < int(straight[:, 0].sum()) < 12
    for row in range(12):
        same = torch.equal(half.rgb[row], plain.rgb[row]) and torch.equal(half.depth[row], plain.depth[row])
        assert same == bool(straight[row, 0])
    assert torch.equal(half.cameras.world_from_camera, plain.cameras.world_from_camera)
    assert bool((half.depth > 0).all()), "the lenses drawn show something at every pixel"


def test_a_model_trains_on_lenses_with_memory_and_consistency(run_of) -> None:
    config = run_of(steps=2, consistency_weight=1.0)
    network = replace(config.model.network, memory_channels=config.model.codec.memory_channels)
    model = replace(config.model, network=network)
    trainer = Trainer(replace(config, model=model, data=replace(config.data, lenses=1.0)))
    assert trainer.batches.stream.footage(0).clip.cameras.lens is not None
    total, parts = trainer.loss()
    total.backward()
    assert bool(total.isfinite()) and float(parts["consistency"]) > 0


@pytest.mark.parametrize("seeds", [("data", 1), ("train", 1)])
def test_another_seed_gives_other_batches(run_of, seeds: tuple[str, int]) -> None:
    config, (section, seed) = run_of(), seeds
    other = replace(config, **{section: replace(getattr(config, section), seed=seed)})
    assert not equal(SceneStream(config, CPU).footage(0).clip, SceneStream(other, CPU).footage(0).clip)


def test_families_are_mixed_as_configured_and_a_place_in_the_stream_keeps_its_scene(run_of) -> None:
    def first_pool(families: dict[str, float]) -> Clip:
        config = run_of(batch=4)
        stream = SceneStream(replace(config, data=replace(config.data, families=families)), CPU)
        return stream.render_pool(0, 0).clip

    room, soup = first_pool({"room": 1.0}), first_pool({"texture_soup": 1.0})
    both = first_pool({"room": 1.0, "texture_soup": 1.0})
    from_room = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(both.rgb, room.rgb)])
    from_soup = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(both.rgb, soup.rgb)])
    assert bool((from_room ^ from_soup).all()) and bool(from_room.any()) and bool(from_soup.any())
    assert both.cameras.time_s.shape == (8, 3)


def test_a_family_that_does_not_exist_is_refused(run_of) -> None:
    with pytest.raises(InputError, match="castle"):
        replace(run_of(), data=replace(run_of().data, families={"castle": 1.0}))
