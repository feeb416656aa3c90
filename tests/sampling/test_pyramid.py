"""Pyramids: the noise after a jump, against its closed form, and the stages together."""

import pytest
import torch
from torch import Tensor

from geometry.errors import InputError
from worldgen.core.conditioning import Conditioning
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import EDM, VP, Flow, Process
from worldgen.sampling.pyramid import Pyramid, PyramidStage, jump, least_level, sample_pyramid
from worldgen.sampling.solvers import DPM2M, Euler

CHANNELS = (8, 4)  # two signals and one, in blocks of 2 pixels


def level(value: float) -> Tensor:
    return torch.full((1, 2), value, dtype=torch.float64)


def linear_map(function, shape: tuple[int, ...]) -> Tensor:
    """The matrix of a linear function of tensors of a shape."""
    units = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, *shape)
    return function(units[:, None]).flatten(1).T


@pytest.mark.parametrize("process", [Flow(), VP(), EDM()], ids=str)
@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("above", [0.0, 0.1])
def test_after_a_jump_the_noise_is_white_and_the_signal_enlarged(process: Process, block: int, above: float) -> None:
    """x = alpha x0 + sigma n becomes alpha' up(x0) + sigma' n' with n' of unit covariance, exactly."""
    now = level(0.3)
    after = least_level(now, process) + above
    small, large = (12, 2, 2), (12, 4, 4)

    def of_x(x: Tensor) -> Tensor:
        return jump(x, torch.zeros(len(x), 1, *large).double(), now, after, CHANNELS, process, block)

    def of_noise(noise: Tensor) -> Tensor:
        return jump(torch.zeros(len(noise), 1, *small).double(), noise, now, after, CHANNELS, process, block)

    enlarge, add = linear_map(of_x, small), linear_map(of_noise, large)
    (alpha, sigma), (alpha2, sigma2) = (process.alpha_sigma(t[0, 0]) for t in (now, after))
    covariance = sigma**2 * enlarge @ enlarge.T + add @ add.T
    assert torch.allclose(covariance, sigma2**2 * torch.eye(len(covariance)).double(), atol=1e-9)
    # A constant image stays so, in its new share of signal; each number is repeated four times.
    assert torch.allclose(enlarge.sum(1), (alpha2 / alpha).expand(len(enlarge)))
    assert torch.allclose(enlarge.sum(0), 4 * (alpha2 / alpha).expand(enlarge.shape[1]))


def test_images_are_enlarged_not_the_blocks_they_are_folded_in() -> None:
    image = torch.arange(16.0).view(1, 1, 1, 4, 4).double()
    folded = image.view(1, 1, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 1, 4, 2, 2)
    out = jump(folded, torch.zeros(1, 1, 4, 4, 4).double(), level(0.0)[:, :1], level(0.0)[:, :1], (4,), Flow(), 2)
    unfolded = out.view(1, 1, 2, 2, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 1, 8, 8)
    assert torch.equal(unfolded, image.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_the_least_level_of_flow_is_the_published_one() -> None:
    t = torch.tensor([0.0, 1 / 3, 0.5, 1.0]).double()
    assert torch.allclose(least_level(t, Flow()), 2 * t / (1 + t))


def test_stages_follow_each_other_and_given_columns_come_back_bit_identical() -> None:
    known = torch.tensor([[True, True], [False, True], [False, False]])
    pyramid = Pyramid.of(known, (8, 8), (3, 2, 4), (0.5, 0.4), Flow())
    signals = [torch.randn(2, 3, 3, s, s) for s in (2, 4, 8)]
    noises = [torch.randn(2, 3, 3, s, s) for s in (2, 4, 8)]
    sizes: list[int] = []

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        sizes.append(x.shape[-1])
        return x / 2

    model = FunctionDenoiser(denoiser, Flow(), {"rgb": 2, "depth": 1})
    states = [*sample_pyramid(model, signals, noises, pyramid, blank(2, 3), DPM2M())]
    assert sizes == [2] * 3 + [4] * 2 + [8] * 4
    assert [n for n, _ in states] == [0] * 3 + [1] * 2 + [2] * 4
    last = states[-1][1].x
    assert torch.equal(last[:, 0], signals[2][:, 0]) and torch.equal(last[:, 1, 2:], signals[2][:, 1, 2:])
    assert bool(last.isfinite().all()) and pyramid.plot().shape[0] == 3
    starts = [float(stage.levels.matrix[0].max()) for stage in pyramid.stages]
    assert starts == pytest.approx([1.0, 2 / 3, 0.8 / 1.4])


def test_flat_images_are_found_through_all_stages() -> None:
    """Of constant images a jump loses nothing, so the last stage ends where one stage would: the value's own law."""
    power = 0.3

    def denoiser(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        t = level[..., 0][..., None, None, None]
        pixels = x.shape[-1] * x.shape[-2]
        mean = x.mean((-2, -1), keepdim=True)
        return ((1 - t) * power / ((1 - t) ** 2 * power + t**2 / pixels) * mean).expand_as(x)

    pyramid = Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (4, 4), (60, 60), (0.5,), Flow())
    batch = 3000
    known = [torch.zeros(batch, 1, 1, s, s).double() for s in (2, 4)]
    noise = [torch.randn(batch, 1, 1, s, s).double() for s in (2, 4)]
    model = FunctionDenoiser(denoiser, Flow(), {"rgb": 1})
    *_, (_, last) = sample_pyramid(model, known, noise, pyramid, blank(batch, 1), DPM2M())
    values = last.x.flatten(1)
    assert (values.amax(1) - values.amin(1)).max() < 1e-9
    assert float(values[:, 0].var()) == pytest.approx(power, rel=4 * (2 / batch) ** 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Pyramid((), Flow()),
        lambda: Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (8, 8), (2, 2), (), Flow()),
        lambda: Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (6, 6), (2, 2, 2), (0.5, 0.5), Flow()),
        lambda: Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (8, 8), (2, 2), (0.0,), Flow()),
        lambda: Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (8, 8), (2, 2), (1.0,), Flow()),
        lambda: Pyramid(
            (
                PyramidStage((4, 4), Levels(torch.tensor([1.0, 0.5])[:, None, None], partial=True)),
                PyramidStage((8, 8), Levels(torch.tensor([0.5, 0.0])[:, None, None])),
            ),
            Flow(),
        ),
        lambda: Pyramid(
            (
                PyramidStage((4, 4), Levels(torch.tensor([1.0, 0.5])[:, None, None], partial=True)),
                PyramidStage((4, 4), Levels(torch.tensor([0.7, 0.0])[:, None, None])),
            ),
            Flow(),
        ),
    ],
)
def test_stages_that_do_not_fit_are_refused(wrong) -> None:
    with pytest.raises(InputError, match="expected"):
        wrong()


def test_a_pyramid_of_another_process_than_the_denoiser_s_is_refused() -> None:
    pyramid, x = Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (4, 4), (2,), (), Flow()), torch.zeros(1, 1, 1, 4, 4)
    model = FunctionDenoiser(lambda x, *_: x, EDM(), {"rgb": 1})
    with pytest.raises(InputError, match=r"pyramid of Flow.* with a denoiser of EDM.*; expected one process"):
        next(sample_pyramid(model, [x], [x], pyramid, blank(1, 1), Euler()))


def test_a_stage_is_sampled_as_any_levels_are() -> None:
    stage = Pyramid.of(torch.zeros(1, 1, dtype=torch.bool), (4, 4), (2,), (), Flow()).stages[0]
    assert torch.equal(stage.levels.matrix, Levels.full_sequence(1, 1, 2).matrix) and stage.hw == (4, 4)
    assert Euler().history == 0
