"""Guidance: which branches are evaluated, and how their estimates are combined."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.guidance import (
    Guidance,
    History,
    Prompt,
    autoguide,
    compose,
    guide,
    guide_by_energy,
    guide_history,
    within,
)
from worldgen.sampling.levels import HISTORY_LEVEL, Levels
from worldgen.sampling.oracles import Gaussian, blank
from worldgen.sampling.process import EDM, VP, Flow, Process

MODALITIES = {"rgb": 2, "depth": 1}
CHANNELS = tuple(MODALITIES.values())
LEVEL = torch.tensor([[[0.0, 0.0], [0.6, 0.0], [0.6, 0.6]]]).double().expand(2, -1, -1)
PARTS = ("text", "image", "camera", "layout", "memory")


def everything(batch: int = 2) -> Conditioning:
    """Conditioning that knows cameras, words and a memory."""
    plain = replace(blank(batch, 3), cameras_known=torch.ones(batch, dtype=torch.bool))
    return replace(
        plain,
        memory=torch.ones(batch, 3, 1, 1, 1),
        text=torch.ones(batch, 1, 4),
        text_mask=torch.ones(batch, 1, dtype=torch.bool),
    )


def denoiser_of(function, process: Process | None = None) -> FunctionDenoiser:
    """A function as a denoiser, by default of flow."""
    return FunctionDenoiser(function, process or Flow(), MODALITIES)


class Recorder:
    """A denoiser whose answer says what it was told, and that counts its calls and its clips."""

    process = Flow()

    def __init__(self, modalities: dict[str, int] = MODALITIES) -> None:
        self.modalities = modalities
        self.batches: list[int] = []

    def __call__(self, x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        self.batches.append(len(x))
        told = 1.0 * (level[..., 0] == 0).sum(1) + 100.0 * conditioning.cameras_known
        if conditioning.text is not None and conditioning.text_mask is not None:
            told = told + 100_000.0 * (conditioning.text_mask[..., None] * conditioning.text).sum((1, 2))
        if conditioning.memory is not None:
            told = told + 0.25 * conditioning.memory.flatten(1).sum(1)
        return x + told[:, None, None, None, None]


def guided(scale: float, x: Tensor, noise: Tensor, gaussian: Gaussian) -> Tensor:
    return guide(gaussian, Guidance(image=scale), noise)(x, LEVEL, blank(2, 3))


def test_scale_1_is_the_denoiser_itself() -> None:
    denoiser = Gaussian.random(3, MODALITIES, Flow())
    assert guide(denoiser, Guidance(), torch.zeros(1)) is denoiser
    assert autoguide(denoiser, denoiser, 1.0) is denoiser
    assert guide_by_energy(denoiser, lambda x: x.sum(), 0.0) is denoiser


def test_guidance_is_linear_in_its_scale_between_the_blind_and_the_seeing_branch() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    blind, half, two = (guided(scale, x, noise, gaussian) for scale in (0.0, 0.5, 2.0))
    seeing = gaussian(x, LEVEL, blank(2, 3))
    assert torch.allclose(half, (blind + seeing) / 2)
    assert torch.allclose(two, 2 * seeing - blind)
    assert not torch.allclose(blind, seeing, atol=1e-3)


def test_the_blind_branch_depends_on_nothing_that_is_given() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    given = gaussian.framed(gaussian.spread(LEVEL)) == 0
    other = torch.where(given, torch.randn_like(x), x)
    blind, same = (guided(0.0, y, noise, gaussian)[~given] for y in (x, other))
    assert torch.allclose(blind, same, atol=1e-12)
    half, different = (guided(0.5, y, noise, gaussian)[~given] for y in (x, other))
    assert not torch.allclose(half, different, atol=1e-6)


def test_both_branches_are_one_call_with_the_given_at_level_1_as_its_own_noise() -> None:
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append((x, level, conditioning))
        return x

    x, noise = torch.randn(2, 3, 3, 4, 4).double(), torch.randn(1, 3, 3, 4, 4).double()
    guide(denoiser_of(denoiser), Guidance(image=2.0), noise)(x, LEVEL, blank(2, 3))
    ((both, level, conditioning),) = calls
    assert torch.equal(both[:2], x) and torch.equal(level[:2], LEVEL)
    assert torch.equal(level[2:], torch.where(LEVEL == 0, 1.0, LEVEL))
    assert torch.equal(both[2:, 0], noise[:, 0].expand(2, -1, -1, -1)) and torch.equal(both[2:, 2], x[:, 2])
    assert conditioning.cameras.shape == (4, 3)


@pytest.mark.parametrize(("part", "worth"), [("camera", 100.0), ("text", 400_000.0), ("memory", 0.75), ("image", 1.0)])
def test_each_scale_weighs_one_thing_alone(part: str, worth: float) -> None:
    """Scale 3 adds twice what the thing says, and the other things stay as they are."""
    recorder, x = Recorder(), torch.zeros(2, 3, 3, 1, 1).double()
    plain = recorder(x, LEVEL, everything())
    out = guide(recorder, Guidance(**{part: 3.0}), torch.ones(1).double())(x, LEVEL, everything())
    moved = (out - plain)[:, 2]
    assert torch.allclose(moved, torch.full_like(moved, 2 * worth), atol=1e-9), part
    assert recorder.batches == [2, 4]


def test_scales_add_up_in_one_call() -> None:
    recorder, x = Recorder(), torch.zeros(2, 3, 3, 1, 1).double()
    plain = recorder(x, LEVEL, everything())
    out = guide(recorder, Guidance(camera=2.0, text=0.5), torch.ones(1).double())(x, LEVEL, everything())
    assert torch.allclose((out - plain)[:, 2], torch.tensor(100.0 - 200_000.0).double())
    assert recorder.batches == [2, 6]


def test_layout_is_guided_apart_from_images() -> None:
    recorder, x = Recorder({"rgb": 2, "layout": 1}), torch.zeros(2, 3, 3, 1, 1).double()
    level = torch.tensor([[[0.6, 0.0]] * 3]).double().expand(2, -1, -1)
    guide(recorder, Guidance(image=2.0), torch.ones(1).double())(x, level, blank(2, 3))
    guide(recorder, Guidance(layout=2.0), torch.ones(1).double())(x, level, blank(2, 3))
    assert recorder.batches == [2, 4], "no image is given, a layout is"


def test_a_branch_without_its_input_is_not_evaluated() -> None:
    recorder, x = Recorder(), torch.randn(2, 3, 3, 4, 4)
    guidance = Guidance(text=2.0, image=2.0, camera=2.0, layout=2.0, memory=2.0)
    level = torch.full((2, 3, 2), 0.5)
    out = guide(recorder, guidance, x)(x, level, blank(2, 3))
    assert torch.equal(out, recorder(x, level, blank(2, 3))) and recorder.batches == [2, 2]


def test_a_scale_may_hold_at_some_levels_only_and_costs_nothing_at_others() -> None:
    recorder, x = Recorder(), torch.zeros(2, 3, 3, 1, 1).double()
    denoiser = guide(recorder, Guidance(camera=within(3.0, 0.5, 0.8)), x)
    for level, batch, moved in ((0.9, 2, 0.0), (0.6, 4, 200.0), (0.3, 2, 0.0)):
        levels = torch.full((2, 3, 2), level).double()
        out = denoiser(x, levels, everything())
        assert recorder.batches[-1] == batch
        assert torch.allclose(out - recorder(x, levels, everything()), torch.tensor(moved).double())


def test_a_scale_may_be_one_a_frame() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    out = guide(gaussian, Guidance(image=torch.tensor([1.0, 1.0, 4.0])), noise)(x, LEVEL, blank(2, 3))
    plain, four = gaussian(x, LEVEL, blank(2, 3)), guided(4.0, x, noise, gaussian)
    assert torch.allclose(out[:, :2], plain[:, :2], atol=1e-12)
    assert torch.allclose(out[:, 2], four[:, 2])
    with pytest.raises(InputError, match="one a frame"):
        guide(gaussian, Guidance(image=torch.ones(2)), noise)(x, LEVEL, blank(2, 3))


@pytest.mark.parametrize("process", [Flow(), EDM(), VP()], ids=str)
def test_what_is_hidden_is_as_noisy_as_the_process_has_it(process: Process) -> None:
    seen = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(x)
        return x

    x, noise = torch.randn(1, 3, 3, 16, 16).double(), torch.randn(1, 3, 3, 16, 16).double()
    guide(denoiser_of(denoiser, process), Guidance(image=2.0), noise)(x, LEVEL[:1], blank(1, 3))
    sigma = float(process.alpha_sigma(torch.ones(1).double())[1])
    assert float(seen[0][1, 0].std()) == pytest.approx(sigma, rel=0.1)


def test_what_is_given_stays_in_the_guided_estimate_which_energies_and_previews_see() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    given = gaussian.framed(gaussian.spread(LEVEL)) == 0
    for denoiser in (
        guide(gaussian, Guidance(image=3.0), noise),
        guide_history(gaussian, [History(3.0), History(0.5, (0,))], noise),
    ):
        assert torch.allclose(denoiser(x, LEVEL, blank(2, 3))[given], x[given], atol=1e-8)


def test_weight_1_alone_is_the_plain_answer_at_its_plain_cost() -> None:
    recorder, x = Recorder(), torch.randn(2, 3, 3, 1, 1).double()
    mask = torch.ones(2, 1, dtype=torch.bool)
    assert guide_history(recorder, [History(1.0)], x) is recorder
    prompt = Prompt(torch.ones(2, 1, 4), mask, 1.0)
    composed = compose(recorder, [prompt])(x, LEVEL, blank(2, 3))
    told = replace(blank(2, 3), text=prompt.text, text_mask=mask)
    assert torch.equal(composed, recorder(x, LEVEL, told)) and recorder.batches == [2, 2]


def test_every_weight_may_be_one_a_frame_or_a_function_of_the_level() -> None:
    strong, weak = Gaussian.random(3, MODALITIES, Flow()), Gaussian.random(3, MODALITIES, Flow())
    x, noise = (strong.framed(torch.randn(2, 9).double()) for _ in range(2))
    level, scale = torch.full((2, 3, 2), 0.5).double(), torch.tensor([1.0, 2.0, 3.0])
    better, worse = (g(x, level, blank(2, 3)) for g in (strong, weak))
    wide = scale.double()[None, :, None, None, None]
    out = autoguide(strong, weak, scale)(x, level, blank(2, 3))
    assert torch.allclose(out, worse + wide * (better - worse))
    out = autoguide(strong, weak, within(3.0, 0.6, 0.9))(x, level, blank(2, 3))
    assert torch.allclose(out, better), "1 at this level"
    by_frame, by_three = (guide_history(strong, [History(w)], noise)(x, LEVEL, blank(2, 3)) for w in (scale, 3.0))
    assert torch.allclose(by_frame[:, 2], by_three[:, 2])
    moved = guide_by_energy(strong, lambda x0: x0.flatten(1).sum(1), scale)(x, level, blank(2, 3))
    assert torch.allclose(moved, better - wide)


def test_rescaling_gives_each_frame_the_spread_of_the_plain_estimate() -> None:
    gain = torch.tensor([1.0, 2.0, 5.0]).double()[None, :, None, None, None]

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.where(conditioning.cameras_known[:, None, None, None, None], gain * x, 0.0)

    x, level = torch.randn(2, 3, 3, 8, 8).double(), torch.full((2, 3, 2), 0.5).double()
    plain = denoiser(x, level, everything())
    for share in (0.0, 0.7, 1.0):
        out = guide(denoiser_of(denoiser), Guidance(camera=3.0, rescale=share), x)(x, level, everything())
        expected = 3 * plain.std((-3, -2, -1)) * (share / 3 + 1 - share)
        assert torch.allclose(out.std((-3, -2, -1)), expected)


def test_one_whole_history_is_guidance_by_images_and_parts_of_it_add_up() -> None:
    gaussian = Gaussian.random(3, MODALITIES, Flow())
    x, noise = (gaussian.framed(torch.randn(2, 9).double()) for _ in range(2))
    whole = guide_history(gaussian, [History(2.5)], noise)(x, LEVEL, blank(2, 3))
    assert torch.allclose(whole, guided(2.5, x, noise, gaussian))
    parts = [History(1.5, (0,)), History(0.5, (1,)), History(-0.5, None, 0.3)]
    out = guide_history(gaussian, parts, noise)(x, LEVEL, blank(2, 3))
    blind = guided(0.0, x, noise, gaussian)
    single = [guide_history(gaussian, [replace(p, weight=1.0)], noise)(x, LEVEL, blank(2, 3)) for p in parts]
    weights = (1.5, 0.5, -0.5)
    expected = blind + sum(w * (answer - blind) for w, answer in zip(weights, single))
    assert torch.allclose(out, expected)
    assert not torch.allclose(single[0], single[1], atol=1e-3) and not torch.allclose(single[0], single[2], atol=1e-3)


def test_half_noised_history_is_seen_at_its_level() -> None:
    seen = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append((x, level))
        return x

    x, noise = torch.randn(2, 3, 3, 2, 2).double(), torch.randn(2, 3, 3, 2, 2).double()
    guide_history(denoiser_of(denoiser), [History(1.0, (0,), 0.25)], noise)(x, LEVEL, blank(2, 3))
    ((both, level),) = seen
    assert torch.allclose(both[2:, 0], 0.75 * x[:, 0] + 0.25 * noise[:, 0])
    assert level[2, :, 1].tolist() == pytest.approx([0.25, 1.0, 0.6]), (
        "frame 1's depth is a part of the history that is not shown"
    )


def test_autoguidance_goes_away_from_the_weaker_network() -> None:
    strong, weak = Gaussian.random(3, MODALITIES, Flow()), Gaussian.random(3, MODALITIES, Flow())
    x = strong.framed(torch.randn(2, 9).double())
    out = autoguide(strong, weak, 2.0)(x, LEVEL, blank(2, 3))
    better, worse = (g(x, LEVEL, blank(2, 3)) for g in (strong, weak))
    assert torch.allclose(out, 2 * better - worse)


def test_prompts_compose_linearly_and_one_can_be_avoided() -> None:
    recorder, x = Recorder(), torch.zeros(2, 3, 3, 1, 1).double()
    mask = torch.ones(2, 1, dtype=torch.bool)
    red, big, bad = (torch.full((2, 1, 4), value) for value in (1.0, 2.0, 0.5))
    prompts = [Prompt(red, mask, 2.0), Prompt(big, mask, -1.0)]
    level = torch.full((2, 3, 2), 0.5).double()
    out = compose(recorder, prompts)(x, level, blank(2, 3))
    assert torch.allclose(out, torch.tensor(2 * 400_000.0 - 800_000.0).double())
    out = compose(recorder, [Prompt(red, mask, 3.0)], Prompt(bad, mask, 1.0))(x, level, blank(2, 3))
    assert torch.allclose(out, torch.tensor(200_000.0 + 3 * 200_000.0).double())
    assert recorder.batches == [6, 4]
    with pytest.raises(InputError, match="at least one"):
        compose(recorder, [])


def test_energy_moves_the_estimate_down_its_slope_also_in_inference_mode() -> None:
    def energy(x0: Tensor) -> Tensor:
        return (x0 - 3).square().flatten(1).sum(1) / 2

    def zero(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.zeros_like(x)

    x, level = torch.randn(2, 3, 3, 1, 1), torch.full((2, 3, 2), 0.5)
    denoiser: Denoiser = guide_by_energy(denoiser_of(zero), energy, 0.5, repeats=2)
    with torch.inference_mode():
        assert torch.allclose(denoiser(x, level, blank(2, 3)), torch.tensor(2.25))
    assert torch.equal(
        guide_by_energy(denoiser_of(zero), energy, 0.5, low=0.5)(x, level, blank(2, 3)), torch.zeros_like(x)
    )


def test_energy_leaves_what_is_given_as_it_is() -> None:
    def same(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return x

    x = torch.randn(2, 3, 3, 1, 1).double()
    guided = guide_by_energy(denoiser_of(same), lambda x0: x0.square().flatten(1).sum(1) / 2, 1.0)
    moved = guided(x, LEVEL, blank(2, 3)) == 0
    assert torch.equal(moved[..., 0, 0], torch.repeat_interleave(LEVEL > 0, torch.tensor(CHANNELS), -1))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Guidance(text=1000.0),
        lambda: Guidance(rescale=1.5),
        lambda: within(2.0, 0.8, 0.5),
        lambda: guide_history(Recorder(), [], torch.zeros(1)),
        lambda: guide_history(Recorder(), [History(1.0, None, 1.0)], torch.zeros(1)),
    ],
)
def test_guidance_out_of_range_is_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()


def test_what_is_exactly_at_the_level_of_a_stabilized_history_is_given() -> None:
    """`Levels.stabilized` puts history at that level: it is hidden from the blind branch, and left as it was."""
    recorder, x = Recorder(), torch.zeros(2, 3, 3, 1, 1).double()
    level = torch.where(LEVEL == 0, HISTORY_LEVEL, LEVEL)
    assert bool((Levels.stabilized(LEVEL[0] == 0, 4).matrix[:, 0] == HISTORY_LEVEL).all())
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append(level)
        return recorder(x, torch.where(level == HISTORY_LEVEL, 0.0, level), conditioning)

    given = torch.repeat_interleave(LEVEL == 0, torch.tensor(CHANNELS), -1)[..., None, None]
    plain = denoiser(x, level, blank(2, 3))
    for guided in (
        guide(denoiser_of(denoiser), Guidance(image=3.0), torch.full((1,), 7.0).double()),
        guide_history(denoiser_of(denoiser), [History(3.0)], torch.full((1,), 7.0).double()),
    ):
        out = guided(x, level, blank(2, 3))
        hidden = torch.where(LEVEL == 0, 1.0, LEVEL)
        assert any(torch.equal(part, hidden) for part in calls.pop().split(2))
        kept = plain if isinstance(guided, type(guide(recorder, Guidance(image=3.0), x))) else x
        assert torch.equal(out[given], kept[given]) and bool((out != plain)[~given].all())
