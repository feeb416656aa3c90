"""Which frames the network sees: windows over long matrices, and finished frames kept in a cache."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.trajectory.paths import orbit
from worldgen.core.conditioning import Conditioning
from worldgen.core.view_distance import overlap
from worldgen.models.network.cached_denoiser import CausalDenoiser
from worldgen.models.network.dit import DiTConfig, MultiViewDiT
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.guidance import Guidance, History, guide, guide_history
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import Flow
from worldgen.sampling.sampler import sample
from worldgen.sampling.solvers import DPM2M, Euler, Heun, UniPC
from worldgen.sampling.windows import Window, nearness

LATENTS = {"rgb": 4, "depth": 2}


def numbered(frames: int) -> Conditioning:
    """Conditioning whose frames can be told by their time."""
    conditioning = blank(1, frames)
    return replace(conditioning, cameras=replace(conditioning.cameras, time_s=torch.arange(frames).float()[None]))


def seen_frames(levels: Levels, window: Window) -> list[list[int]]:
    """The frames of every call of a run."""
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append(conditioning.cameras.time_s[0].int().tolist())
        assert x.shape[1] == level.shape[1] == len(calls[-1])
        return x / 2

    frames = levels.matrix.shape[1]
    x = torch.randn(1, frames, 1, 1, 1)
    model = FunctionDenoiser(denoiser, Flow(), {"rgb": 1})
    [*sample(model, x, x, levels, numbered(frames), Euler(), window=window)]
    return calls


def test_a_window_has_the_moving_frames_and_the_finished_ones_nearest_in_time() -> None:
    calls = seen_frames(Levels.autoregressive(6, 1, 1), Window(3, nearness(torch.arange(6.0))))
    assert calls == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_rolling_frames_are_all_in_the_window_and_those_that_wait_are_not() -> None:
    calls = seen_frames(Levels.rolling(8, 1, 4, lag=2), Window(4, nearness(torch.arange(8.0))))
    assert max(len(call) for call in calls) == 4
    assert calls[0] == [0] and calls[2] == [0, 1]
    assert calls[8] == [1, 2, 3, 4] or {3, 4} <= set(calls[8])


def test_a_window_may_prefer_frames_that_see_the_same() -> None:
    """Once round: the last frame's neighbors in space are the first ones, in time those before it."""
    poses = orbit(torch.zeros(3), 2.0, 20.0, 12)
    cameras = Cameras.from_fov(poses, 50.0, (32, 32))
    shared = overlap(cameras, scale=2.0)
    assert torch.allclose(shared.diagonal(), torch.ones(12))
    assert shared[0, 1] > shared[0, 3] > shared[0, 6]
    assert shared[11, 0] == pytest.approx(float(shared[11, 10]), abs=0.02)
    levels = Levels.autoregressive(12, 1, 1)
    by_time = seen_frames(levels, Window(3, nearness(torch.arange(12.0))))[-1]
    by_both = seen_frames(levels, Window(3, shared + nearness(torch.arange(12.0))))[-1]
    by_view = seen_frames(levels, Window(3, shared))[-1]
    assert by_time == [9, 10, 11] and by_view == [0, 10, 11] and 10 in by_both


def test_guidance_goes_through_a_window_with_each_frame_s_own_scale_and_noise() -> None:
    """Frames that do not see each other, guided in a window, are what they are when all are looked at."""

    def alone(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.tanh(x) * (1 - level[..., None, None] / 2)

    frames = 5
    x, noise = torch.randn(1, frames, 1, 2, 2), torch.randn(1, frames, 1, 2, 2)
    scale = torch.linspace(1.5, 3, frames)
    levels, model = Levels.autoregressive(frames, 1, 3), FunctionDenoiser(alone, Flow(), {"rgb": 1})
    for guided in (
        guide(model, Guidance(image=scale), noise),
        guide_history(model, [History(scale), History(0.5, (1, 2))], noise),
    ):
        arguments = (x, x, levels, numbered(frames), Euler())
        *_, whole = sample(guided, *arguments)
        *_, seen = sample(guided, *arguments, window=Window(frames - 1, nearness(torch.arange(frames).float())))
        assert torch.allclose(whole.x, seen.x, atol=1e-6)


def test_a_given_image_is_seen_while_its_depth_waits_and_rows_without_motion_call_nothing() -> None:
    known = torch.zeros(6, 2, dtype=torch.bool)
    known[3, 0] = True
    levels = Levels.autoregressive(6, 2, 1, known=known)
    idle = Levels(torch.cat([levels.matrix[:2], levels.matrix[1:]]))
    calls = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        calls.append(conditioning.cameras.time_s[0].int().tolist())
        return x / 2

    x, model = torch.randn(1, 6, 2, 1, 1), FunctionDenoiser(denoiser, Flow(), {"rgb": 1, "depth": 1})
    window = Window(2, torch.eye(6) + nearness(torch.arange(6.0)))
    rows = [*sample(model, x, x, idle, numbered(6), Euler(), window=window)]
    assert len(rows) == 7 and len(calls) == 6
    assert calls[0] == [0, 3], "the given image is all that is known"
    assert [*sample(model, x, x, Levels.given(torch.ones_like(known), 1), numbered(6), Euler(), window=window)]
    assert len(calls) == 6, "where all is given, nothing is queried"


def test_frames_that_begin_must_have_room_to_see_what_is_known() -> None:
    levels = Levels.autoregressive(6, 1, 2, chunk=3)
    with pytest.raises(InputError, match="3 frames begin in row 2 and the network takes 3"):
        seen_frames(levels, Window(3, nearness(torch.arange(6.0))))
    split = Levels.keyframes(9, 1, 1, (4, 2), most=2)
    assert max(len(call) for call in seen_frames(split, Window(4, nearness(torch.arange(9.0))))) == 4


def test_the_limit_of_the_network_is_respected_or_refused() -> None:
    window = Window(3, nearness(torch.arange(6.0)))
    with pytest.raises(InputError, match=r"6 frames move in one row and the network takes 3; expected .*rolling"):
        seen_frames(Levels.full_sequence(6, 1, 2), window)
    with pytest.raises(InputError, match="window over 6 frames; expected 4"):
        seen_frames(Levels.full_sequence(4, 1, 2), window)
    with pytest.raises(InputError, match="expected"):
        Window(0, torch.eye(2))


@pytest.mark.usefixtures("unchecked")
def test_closeness_is_square() -> None:
    with pytest.raises(InputError, match="expected"):
        Window(2, torch.ones(2, 3))


@pytest.fixture(scope="module")
def network() -> MultiViewDiT:
    """Untrained, with weights that are not zero."""
    torch.manual_seed(3)
    net = MultiViewDiT(DiTConfig(LATENTS, 32, 4, 48, 16, ("full", "frame", "full")))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval().requires_grad_(False)


def orbiting(frames: int) -> Conditioning:
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 1.0, 20.0, 3 * frames)[:frames], 50.0, (16, 16))
    return Conditioning.of(cameras[None])


@pytest.mark.parametrize("solver", [Euler(), Heun(), DPM2M(), UniPC()], ids=str)
@pytest.mark.parametrize("chunk", [1, 2])
def test_caching_finished_frames_changes_nothing_and_they_are_not_computed_again(
    solver, chunk: int, network: MultiViewDiT
) -> None:
    frames, process = 6, Flow()
    conditioning = orbiting(frames).causal(chunk)
    known = torch.zeros(frames, 2, dtype=torch.bool)
    known[:chunk] = True
    levels = Levels.autoregressive(frames, 2, 3, chunk, known)
    x, noise = torch.randn(1, frames, 6, 4, 4), torch.randn(1, frames, 6, 4, 4)
    sizes = []
    network_calls = network.register_forward_hook(lambda module, inputs, output: sizes.append(inputs[0].shape[1]))
    *_, plain = sample(process.precondition(network, LATENTS), x, noise, levels, conditioning, solver)
    assert set(sizes) == {frames}
    sizes.clear()
    *_, cached = sample(CausalDenoiser(network, process, LATENTS), x, noise, levels, conditioning, solver)
    network_calls.remove()
    assert set(sizes) == {chunk}
    assert (plain.x - cached.x).abs().max() < 1e-5
    assert torch.equal(cached.x[:, :chunk], x[:, :chunk])


def test_a_caching_denoiser_needs_an_order_and_no_window(network: MultiViewDiT) -> None:
    x = torch.randn(1, 4, 6, 4, 4)
    causal = CausalDenoiser(network, Flow(), LATENTS)
    levels = Levels.autoregressive(4, 2, 2)
    with pytest.raises(InputError, match="frames in no order"):
        next(sample(causal, x, x, levels, orbiting(4), Euler()))
    with pytest.raises(InputError, match="expected one of them"):
        window = Window(2, torch.eye(4))
        next(sample(causal, x, x, levels, orbiting(4).causal(), Euler(), window=window))


@pytest.mark.parametrize(
    "case", ["first frame given", "frame by frame", "backwards", "one stays unknown", "an idle row", "all given"]
)
def test_the_cache_is_exact_also_where_chunks_are_finished_in_parts(case: str, network: MultiViewDiT) -> None:
    """What a frame may see decides when it can be cached."""
    frames, process = 4, Flow()
    known = torch.zeros(frames, 2, dtype=torch.bool)
    known[0] = case == "first frame given"
    levels = Levels.autoregressive(frames, 2, 2, 2 if case == "first frame given" else 1, known)
    if case == "backwards":
        levels = Levels(levels.matrix.flip(1))
    if case == "one stays unknown":
        levels = Levels(torch.where(torch.arange(frames)[:, None] == 1, 1.0, levels.matrix))
    if case == "an idle row":
        levels = Levels(torch.cat([levels.matrix[:3], levels.matrix[2:]]))
    if case == "all given":
        levels = Levels.given(torch.ones_like(known), 2)
    x, noise = torch.randn(1, frames, 6, 4, 4), torch.randn(1, frames, 6, 4, 4)
    arguments = (x, noise, levels, orbiting(frames).causal(2), Euler())
    *_, plain = sample(process.precondition(network, LATENTS), *arguments)
    cached = [*sample(CausalDenoiser(network, process, LATENTS), *arguments)]
    assert (plain.x - cached[-1].x).abs().max() < 1e-5
    again = [*sample(CausalDenoiser(network, process, LATENTS), *arguments, state=cached[len(cached) // 2 - 1])]
    assert torch.equal(again[-1].x, cached[-1].x), "resumed bit for bit"


def test_a_finished_frame_counts_by_the_moving_frame_it_is_closest_to() -> None:
    """Frames 0 and 9 move: their own neighbors help them, not those half way, which are far from both."""
    window = Window(4, nearness(torch.arange(10.0)))
    assert window.chosen([0, 9], list(range(1, 9))) == [0, 1, 8, 9]
    assert window.chosen([9], list(range(9))) == [6, 7, 8, 9]
