"""Generation with a first stage: what each of the two does, and what the whole promises."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import worldgen
from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.trajectory.paths import orbit
from tests.models.network.unet.small import small_model
from tests.models.tiny import awake, tiny_model
from tests.runtime.told import Told
from worldgen.core.clip import LOOKED_UP, Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import generate
from worldgen.pipelines.novel_views import ONE_CALL, Sampling, generate_views
from worldgen.sampling.guidance import Guidance
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import SOLVERS
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

F, PX, SCALE = 3, 32, torch.tensor([3.0])


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """Images of 32 px over a first stage of 16 px, three steps of the second at most."""
    torch.manual_seed(0)
    first = WorldModel.create(tiny_model()).training(False)
    awake(first.network)
    config = replace(small_model(size_px=PX, coarse="first"), stage_steps=3)
    made = WorldModel.create(config, coarse=first).training(False)
    awake(made.network, 0.1)
    return made


@pytest.fixture(scope="module")
def clip() -> Clip:
    cameras = Cameras.from_fov(orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, 40)[:F], 52.0, (PX, PX))
    return render(tabletop(0, [3], held_out=True), cameras[None])


def known(*columns: tuple[int, int]) -> Tensor:
    given = torch.zeros(F, 2, dtype=torch.bool)
    for frame, modality in columns:
        given[frame, modality] = True
    return given


@contextmanager
def counted(model: WorldModel) -> Iterator[list[str]]:
    """The networks that are called, in order: "first" and "second"."""
    assert model.coarse is not None
    calls: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, part in (("first", model.coarse.network), ("second", model.network))
    ]
    yield calls
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_it_is_the_first_stage_and_then_the_second_from_its_clip(model: WorldModel, clip: Clip, steps: int) -> None:
    first = model.coarse
    assert first is not None
    levels = Levels.given(known((0, 0), (1, 1)), steps)
    made = generate(model, clip, levels, scale=SCALE, seed=5)
    coarse = generate(first, clip.shrunk((16, 16)), levels, scale=SCALE, seed=5)
    encoded = model.encode(clip, SCALE, coarse=coarse)
    noise = KeyedNoise(5, (0,), (0, 1, 2), model.channels, (PX, PX))
    thinned = levels.thinned(3)
    assert len(thinned) == min(steps, 3) + 1
    states = sample(
        model.denoiser(), encoded.latent, noise.start(), thinned, encoded.conditioning, SOLVERS["euler"], fresh=noise
    )
    with torch.inference_mode():
        x = [state.x for state in states][-1]
    expected = model.decode(x, encoded.normalization, clip.cameras)
    assert torch.equal(made.rgb[:, 1:], expected.rgb[:, 1:])
    assert torch.equal(made.depth[:, [0, 2]], expected.depth[:, [0, 2]])
    assert made.cameras is not None and made.cameras.hw == (PX, PX)


def test_what_is_given_comes_back_bit_for_bit(model: WorldModel, clip: Clip) -> None:
    made = generate(model, clip, Levels.given(known((0, 0), (1, 0), (1, 1)), 2))
    assert torch.equal(made.rgb[:, :2], clip.rgb[:, :2]) and torch.equal(made.depth[:, 1], clip.depth[:, 1])
    assert not torch.equal(made.rgb[:, 2], clip.rgb[:, 2]) and not torch.equal(made.depth[:, 0], clip.depth[:, 0])


def test_what_is_unknown_may_hold_anything(model: WorldModel, clip: Clip) -> None:
    other = Clip(clip.rgb.clone(), torch.rand_like(clip.depth), clip.cameras)
    other.rgb[:, 1:] = torch.nan
    one, two = (generate(model, c, Levels.given(known((0, 0)), 2), scale=SCALE) for c in (clip, other))
    assert torch.equal(one.rgb, two.rgb) and torch.equal(one.depth, two.depth) and bool(one.rgb.isfinite().all())


def test_one_step_is_one_call_of_each_stage_and_the_second_s_does_not_depend_on_noise(
    model: WorldModel, clip: Clip
) -> None:
    first = model.coarse
    assert first is not None
    with counted(model) as calls:
        generate(model, clip, Levels.given(known((0, 0)), 1))
    assert calls == ["first", "second"]
    blind = replace(model, coarse=None, config=replace(model.config, coarse=None))
    one, two = (generate(blind, clip, Levels.given(known((0, 0)), 1), seed=seed).rgb for seed in (0, 1))
    assert torch.equal(one, two)


def test_only_the_first_stage_is_guided(model: WorldModel, clip: Clip) -> None:
    with counted(model) as calls:
        generate(model, clip, Levels.given(known((0, 0)), 7), guidance=Guidance(image=2.0))
    assert calls == ["first"] * 7 + ["second"] * 3 or calls == ["first"] * 14 + ["second"] * 3
    plain, guided = (
        generate(model, clip, Levels.given(known((0, 0)), 2), scale=SCALE, guidance=Guidance(image=scale)).rgb
        for scale in (1.0, 4.0)
    )
    assert not torch.allclose(plain, guided, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
def test_the_calls_of_a_sampling_are_the_steps_that_are_reported(model: WorldModel, clip: Clip, steps: int) -> None:
    rows: list[int] = []
    sampling = Sampling(steps=steps)
    start = Clip(clip.rgb[:, :1], torch.zeros_like(clip.depth[:, :1]), clip.cameras[:, :1])
    generate_views(model, start, clip.cameras[:, 1:], SCALE, sampling, on_step=lambda: rows.append(1))
    assert len(rows) == sampling.calls(model) == steps + min(steps, 3)
    assert model.coarse is not None and sampling.calls(model.coarse) == steps


def test_noise_has_the_keys_of_frames_and_clips_in_both_stages(model: WorldModel, clip: Clip) -> None:
    levels = Levels.given(known((0, 0)), 2)
    cameras = Cameras.cat([clip.cameras[0]] * 2).reshape(2, F)
    both = Clip(clip.rgb.repeat(2, 1, 1, 1, 1), clip.depth.repeat(2, 1, 1, 1, 1), cameras)
    together = generate(model, both, levels, scale=SCALE.expand(2))
    alone = [generate(model, clip, levels, scale=SCALE, clip_ids=[number]) for number in (0, 1)]
    for number in (0, 1):
        assert torch.allclose(together.rgb[number], alone[number].rgb[0], atol=1e-5)
    assert not torch.allclose(alone[0].rgb, alone[1].rgb, atol=1e-3)
    other = generate(model, clip, levels, scale=SCALE, frame_ids=[0, 7, 2])
    assert not torch.allclose(other.rgb[:, 1], alone[0].rgb[:, 1], atol=1e-3)
    again, seeded = (generate(model, clip, levels, scale=SCALE, seed=seed).rgb for seed in (0, 1))
    assert torch.equal(again, alone[0].rgb) and not torch.allclose(seeded, again, atol=1e-3)


@pytest.mark.parametrize("hw", [(16, 16), (16, 64), (64, 32), (48, 48)])
def test_other_sizes_are_made_from_clips_of_the_first_stage_s_size(
    model: WorldModel, clip: Clip, hw: tuple[int, int]
) -> None:
    rgb = torch.nn.functional.interpolate(clip.rgb[0], hw)[None]
    sized = Clip(rgb, torch.zeros(1, F, 1, *hw), clip.cameras.resized(hw))
    made = generate(model, sized, Levels.given(known((0, 0)), 2))
    assert made.rgb.shape == (1, F, 3, *hw) and torch.equal(made.rgb[:, :1], rgb[:, :1])
    assert bool(made.rgb.isfinite().all()) and bool((made.depth > 0).all())


def test_a_size_that_the_second_stage_cannot_make_is_refused_before_the_first_begins(
    model: WorldModel, clip: Clip
) -> None:
    odd = Clip(torch.rand(1, F, 3, 24, 32), torch.zeros(1, F, 1, 24, 32), clip.cameras.resized((24, 32)))
    with counted(model) as calls, pytest.raises(InputError, match="frames of 32x24 pixels; expected multiples of 16"):
        generate(model, odd, Levels.given(known((0, 0)), 1))
    assert calls == []
    with pytest.raises(InputError, match="size of 24 pixels; expected a multiple of 16 up to 512"):
        worldgen.orbit(model, [clip.rgb[0, 0]], frames=2, size_px=24)


def test_more_frames_than_both_stages_take_are_made_in_windows(model: WorldModel) -> None:
    cameras = Cameras.from_fov(orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, 40)[:5], 52.0, (PX, PX))[None]
    long = Clip(torch.rand(1, 5, 3, PX, PX), torch.zeros(1, 5, 1, PX, PX), cameras)
    given = torch.zeros(5, 2, dtype=torch.bool)
    given[0, 0] = True
    with counted(model) as calls:
        made = generate(model, long, Levels.autoregressive(5, 2, 4, 2, given))
    assert calls.count("second") == 2 * calls.count("first") * 3 // 8, "two turns, each in three steps instead of four"
    assert model.config.frames == 3 and made.rgb.shape == (1, 5, 3, PX, PX) and bool(made.rgb.isfinite().all())


def test_the_order_of_frames_holds_in_both_stages(model: WorldModel, clip: Clip) -> None:
    levels, order = Levels.given(known((0, 0), (2, 0)), 2), torch.tensor([[0, 1, 2]])
    other = Clip(clip.rgb.clone(), clip.depth, clip.cameras)
    other.rgb[:, 2] = 1 - other.rgb[:, 2]
    one, two = (generate(model, c, levels, scale=SCALE, order=order) for c in (clip, other))
    assert torch.allclose(one.rgb[:, :2], two.rgb[:, :2], atol=1e-5)
    free, changed = (generate(model, c, levels, scale=SCALE) for c in (clip, other))
    assert not torch.allclose(free.rgb[:, 1], changed.rgb[:, 1], atol=1e-3)


def test_what_was_looked_up_stands_beside_the_colors(model: WorldModel, clip: Clip) -> None:
    made = generate(model, clip, Levels.given(known((0, 0)), 2))
    share = made.others[LOOKED_UP]
    assert share.shape == (1, F, 1, PX, PX) and bool(((share >= 0) & (share <= 1)).all()) and bool(share.any())
    nothing = generate(model, clip, Levels.full_sequence(F, 2, 2)).others[LOOKED_UP]
    assert not nothing.any(), "no frame is known"


def test_an_orbit_s_progress_ends_at_the_whole(model: WorldModel, clip: Clip) -> None:
    told: Told = []
    world = worldgen.orbit(model, [clip.rgb[0, 0]], frames=5, steps=4, progress=lambda *at: told.append(at))
    assert torch.equal(world.clip.rgb[0], clip.rgb[0, 0])
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] <= 1
    sampled = [share for share, stage in told if "sampling" in stage]
    # 5 s of reading, 85 of sampling, 10 of lifting: the last step ends where lifting begins.
    assert sampled[-1] == pytest.approx(0.9)
    assert len(sampled) % Sampling(steps=4).calls(model) in (0, 1)


def test_the_sampling_of_one_call_is_that_of_both(model: WorldModel) -> None:
    assert ONE_CALL.calls(model) == 2 and model.coarse is not None and ONE_CALL.calls(model.coarse) == 1
