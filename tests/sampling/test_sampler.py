"""The loop: what it promises about columns that are given or wait, about noise, pieces and batches."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry.errors import InputError
from tests.sampling.modes import FRAMES, KNOWN, MODALITIES, MODES
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.guidance import Guidance, guide
from worldgen.sampling.levels import Levels
from worldgen.sampling.noise import KeyedNoise, keyed_noise
from worldgen.sampling.oracles import Gaussian, blank
from worldgen.sampling.process import Flow
from worldgen.sampling.sampler import SamplerState, sample
from worldgen.sampling.solvers import DPM2M, SOLVERS, Euler, Heun, Solver

CHANNELS = tuple(MODALITIES.values())
N = FRAMES * sum(CHANNELS)


def states(
    denoiser: Denoiser, known: Tensor, noise: Tensor, levels: Levels, solver: Solver, **rest
) -> list[SamplerState]:
    """All states of a run."""
    fresh = lambda moves: noise.flip(0) if int(moves.max()) % 2 else -noise  # noqa: E731
    conditioning = blank(len(known), known.shape[1])
    return [*sample(denoiser, known, noise, levels, conditioning, solver, fresh=fresh, **rest)]


def denoiser_of(function) -> FunctionDenoiser:
    """A function as a denoiser of flow."""
    return FunctionDenoiser(function, Flow(), MODALITIES)


def _tanh(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
    """Something smooth in which frames depend on each other, in the type it is given."""
    return torch.tanh(x + 0.5 * x.mean(1, keepdim=True)) * (1 - level.mean(-1)[..., None, None, None] / 2)


TANH = denoiser_of(_tanh)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_do_not_change_in_a_row_are_not_touched(mode: str, solver: str) -> None:
    gaussian, levels = Gaussian.random(FRAMES, MODALITIES, Flow()), MODES[mode](4)
    known, noise = (gaussian.framed(torch.randn(2, N).double()) for _ in range(2))
    start = gaussian.framed(gaussian.spread(levels.matrix[:1].double()))
    before = torch.where(start == 0, known, (1 - start) * known + start * noise)
    rows = states(gaussian, known, noise, levels, SOLVERS[solver])
    for row, state in enumerate(rows, start=1):
        still = (levels.matrix[row] == levels.matrix[row - 1])[None].double()
        waits = gaussian.framed(gaussian.spread(still)).expand_as(before) > 0
        if row == len(rows):  # history is given back clean at the end
            waits = waits & (gaussian.framed(gaussian.spread(levels.matrix[-1:].double())) == 0)
        assert state.row == row
        assert torch.equal(state.x[waits], before[waits])
        assert not torch.isclose(state.x[~waits], before[~waits], rtol=0, atol=1e-12).any()
        before = state.x


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", ["given", "stabilized history"])
def test_given_columns_come_back_bit_identical(solver: str, scale: float, mode: str) -> None:
    gaussian = Gaussian.random(FRAMES, MODALITIES, Flow())
    known, noise = (gaussian.framed(torch.randn(2, N).double()) for _ in range(2))
    denoiser = guide(gaussian, Guidance(image=scale, given=0.02), noise)
    given_ones = gaussian.framed(gaussian.spread(KNOWN[None].double())).expand_as(known) > 0
    last = states(denoiser, known, noise, MODES[mode](5), SOLVERS[solver])[-1]
    assert torch.equal(last.x[given_ones], known[given_ones])


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_network_sees_given_columns_bit_identical_in_every_call(solver: str) -> None:
    gaussian = Gaussian.random(FRAMES, MODALITIES, Flow())
    known, noise = (gaussian.framed(torch.randn(2, N).double()) for _ in range(2))
    given_ones = gaussian.framed(gaussian.spread(KNOWN[None].double())).expand_as(known) > 0
    seen = []

    def careless(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        seen.append(x)
        return torch.full_like(x, torch.nan)  # says nothing sensible of what is given, as a guided denoiser may

    states(denoiser_of(careless), known, noise, MODES["given"](4), SOLVERS[solver])
    assert len(seen) >= 4
    assert all(torch.equal(x[given_ones], known[given_ones]) for x in seen)


def test_a_heun_step_calls_the_denoiser_twice_but_once_where_all_noise_schedules_end() -> None:
    levels_seen = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        levels_seen.append(float(level.max()))
        return torch.zeros_like(x)

    x = torch.randn(1, FRAMES, 3, 1, 1)
    states(denoiser_of(denoiser), x, x, Levels.full_sequence(FRAMES, 2, 2), Heun())
    assert levels_seen == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_of_four_is_four_single_samples(solver: str, mode: str) -> None:
    keyed = [KeyedNoise(5, (clip,), tuple(range(FRAMES)), CHANNELS, (4, 4)) for clip in range(4)]
    together = KeyedNoise(5, (0, 1, 2, 3), tuple(range(FRAMES)), CHANNELS, (4, 4))
    known = torch.randn(4, FRAMES, sum(CHANNELS), 4, 4)

    def end(noise: KeyedNoise, known: Tensor) -> Tensor:
        conditioning = blank(len(known), FRAMES)
        *_, last = sample(TANH, known, noise.start(), MODES[mode](4), conditioning, SOLVERS[solver], fresh=noise)
        return last.x

    alone = torch.cat([end(one, known[n : n + 1]) for n, one in enumerate(keyed)])
    assert torch.allclose(end(together, known), alone, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_in_saved_pieces_is_bitwise_the_whole_run(solver: str, mode: str, tmp_path: Path) -> None:
    levels, conditioning = MODES[mode](4), blank(2, FRAMES)
    keyed = KeyedNoise(5, (0, 1), tuple(range(FRAMES)), CHANNELS, (2, 2))
    known = torch.randn(2, FRAMES, sum(CHANNELS), 2, 2)
    arguments = (TANH, known, keyed.start(), levels, conditioning, SOLVERS[solver])
    whole = [*sample(*arguments, fresh=keyed)]
    state = None
    for _ in whole:
        state = next(sample(*arguments, fresh=keyed, state=state))
        state.save(tmp_path / "state.safetensors")
        state = SamplerState.load(tmp_path / "state.safetensors")
        assert torch.equal(state.x, whole[state.row - 1].x) and torch.equal(state.x0, whole[state.row - 1].x0)
    assert state is not None and state.row == len(levels) - 1


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    known = torch.randn(1, FRAMES, 3, 1, 1)
    state = states(TANH, known, known, MODES["given"](4), DPM2M())[1]
    for levels, solver in ((MODES["given"](5), DPM2M()), (MODES["given"](4), Euler())):
        with pytest.raises(InputError, match="of another run"):
            states(TANH, known, known, levels, solver, state=state)
    (tmp_path / "no").write_bytes(b"nothing")
    for name in ("no", "absent"):
        with pytest.raises(InputError, match="expected a state"):
            SamplerState.load(tmp_path / name)


@pytest.mark.parametrize(
    ("frames", "modalities"), [(2, {"rgb": 2, "depth": 1}), (4, {"rgb": 2, "depth": 2}), (4, {"rgb": 3})]
)
def test_levels_that_do_not_fit_the_frames_are_refused(frames: int, modalities: dict[str, int]) -> None:
    x = torch.randn(1, frames, 3, 1, 1)
    with pytest.raises(InputError, match="expected them to agree"):
        sample(
            FunctionDenoiser(lambda y, *_: y, Flow(), modalities), x, x, MODES["given"](3), blank(1, frames), Euler()
        )


@given(
    order=st.permutations(range(4)), cut=st.integers(1, 3), clips=st.permutations(range(3)), move=st.integers(0, 1000)
)
def test_keyed_noise_is_bitwise_the_same_however_it_is_batched_chunked_and_ordered(order, cut, clips, move) -> None:
    moves = torch.full((4, 2), move).numpy()
    whole = KeyedNoise(7, (0, 1, 2), (0, 1, 2, 3), (3, 1), (4, 5)).fresh(moves)
    parts = [
        torch.cat([KeyedNoise(7, (clip,), tuple(some), (3, 1), (4, 5)).fresh(moves[: len(some)]) for clip in clips])
        for some in (order[:cut], order[cut:])
    ]
    assert torch.equal(torch.cat(parts, 1), whole[list(clips)][:, list(order)])


def test_fresh_noise_belongs_to_the_column_and_its_own_moves_not_to_the_row() -> None:
    """A frame that begins later takes the same numbers, so the shape of the matrix around it does not matter."""
    taken: dict[str, list[Tensor]] = {}
    keyed = KeyedNoise(1, (0,), (0, 1), (2,), (2, 2))
    for name, levels in (("full", Levels.full_sequence(2, 1, 3)), ("turns", Levels.autoregressive(2, 1, 3))):

        def fresh(moves, name=name) -> Tensor:
            noise = keyed.fresh(moves)
            taken.setdefault(name, []).extend(noise[:, f] for f in range(2) if moves[f, 0] >= 0)
            return noise

        x = keyed.start()
        same = FunctionDenoiser(lambda x, *_: x, Flow(), {"rgb": 2})
        [*sample(same, x, x, levels, blank(1, 2), SOLVERS["ddpm"], fresh=fresh)]
    assert torch.equal(torch.stack(taken["full"][::2]), torch.stack(taken["turns"][:3]))
    assert torch.equal(torch.stack(taken["full"][1::2]), torch.stack(taken["turns"][3:]))


def test_keyed_noise_differs_between_seeds_clips_frames_modalities_and_moves() -> None:
    noise = [keyed_noise(seed, [0, 1], (2, 2), (4, 4), clip) for seed, clip in ((0, 0), (1, 0), (0, 1))]
    noise.append(KeyedNoise(0, (0,), (0, 1), (2, 2), (4, 4)).fresh(torch.ones(2, 2).int().numpy()))
    columns = torch.cat([part.unflatten(2, (2, 2)).flatten(0, 2) for part in noise]).flatten(1)
    correlation = torch.corrcoef(columns) - torch.eye(len(columns))
    assert correlation.abs().max() < 0.7


def test_keyed_noise_is_standard_normal() -> None:
    noise = keyed_noise(0, [0, 1], (16, 16), (16, 16)).flatten()
    quantiles = torch.tensor([0.02275, 0.15866, 0.5, 0.84134, 0.97725])
    assert torch.allclose(noise.quantile(quantiles), torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), atol=0.08)
