"""Restored clips agree with their measurements, and are nearer to the truth than what is obvious."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geometry.errors import InputError
from worldgen.core.clip import Clip
from worldgen.core.modalities import channels_of
from worldgen.evaluation.metrics.image import psnr
from worldgen.models.world_model import WorldModel
from worldgen.pipelines import restoration
from worldgen.pipelines.restoration import Restoration, denoise, restore
from worldgen.sampling.levels import Levels
from worldgen.sampling.restoration import Blur, Downsample, Gray, Inpaint, LinearOperator, measurement_residual
from worldgen.sampling.sampler import sample

QUICK = Restoration(steps=2)
HW = (64, 72)


@pytest.fixture(scope="module")
def three(truth: Clip) -> Clip:
    """Three frames."""
    return truth.frames([0, 1, 2])


def mask() -> Tensor:
    """The first frame is known, the second is missing, a box of the third is."""
    known = torch.ones(3, 1, *HW, dtype=torch.bool)
    known[1] = False
    known[2, :, 20:40, 30:50] = False
    return known


# and the least gain over the operator's guess, dB (frames are 60 degrees apart)
OPERATORS: dict[str, tuple[LinearOperator, float]] = {
    "inpainting": (Inpaint(mask()), 2.0),
    "super-resolution": (Downsample(4), 0.15),
    "blur": (Blur.gaussian(3.0), 0.15),
    "color from one frame": (Gray(torch.tensor([True, False, False])), 1.0),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_result_agrees_with_the_measurement_and_is_nearer_to_the_truth(
    name: str, tiny: WorldModel, three: Clip
) -> None:
    operator, least = OPERATORS[name]
    measured = operator.apply(three.rgb)
    steps = []
    made = restore(tiny, measured, three.cameras, operator, QUICK, on_step=lambda: steps.append(1))
    assert len(steps) == 2
    assert bool(((made.rgb >= 0) & (made.rgb <= 1)).all()) and bool((made.depth > 0).all())
    assert measurement_residual(operator, measured, made.rgb) < 1e-3
    gain = psnr(made.rgb, three.rgb)[1:] - psnr(operator.guess(measured).clamp(0, 1), three.rgb)[1:]
    assert float(gain.mean()) > least, gain


def test_a_deblurred_image_blurred_by_definition_is_the_measured_one(tiny: WorldModel, three: Clip) -> None:
    row = torch.tensor([1.0, 4, 6, 4, 1]) / 16

    def blurred(rgb: Tensor) -> Tensor:
        mirror = torch.cat([rgb[..., :2].flip(-1), rgb, rgb[..., -2:].flip(-1)], -1)
        return F.conv2d(mirror.flatten(0, 1)[:, None], row[None, None, None]).reshape(rgb.shape)

    made = restore(tiny, blurred(three.rgb), three.cameras, Blur(row[None], 1e-3), QUICK)
    assert float((blurred(made.rgb) - blurred(three.rgb)).abs().max()) < 1e-3


def test_rounding_to_8_bits_does_not_spoil_a_deblurred_image(tiny: WorldModel, three: Clip) -> None:
    operator = Blur.gaussian(2.0)
    measured = operator.apply(three.rgb).mul(255).round().div(255)
    made = restore(tiny, measured, three.cameras, operator, QUICK).rgb
    assert float((psnr(made, three.rgb) - psnr(measured, three.rgb)).min()) > 3


def test_frames_known_whole_come_back_and_what_stands_in_missing_pixels_is_ignored(
    tiny: WorldModel, three: Clip
) -> None:
    operator = Inpaint(mask())
    made, same = (
        restore(tiny, torch.where(mask(), three.rgb, nothing), three.cameras, operator, QUICK).rgb
        for nothing in (0.0, torch.nan)
    )
    assert torch.equal(made, same)
    assert torch.allclose(made[0], three.rgb[0], atol=1e-6)


def test_the_seed_decides_what_is_made_up(tiny: WorldModel, three: Clip) -> None:
    first, same, other = (
        restore(tiny, three.rgb, three.cameras, Inpaint(mask()), Restoration(2, seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first.rgb, same.rgb) and torch.equal(first.depth, same.depth)
    assert float((first.rgb - other.rgb)[1].abs().max()) > 0.02


def test_frames_help_each_other(tiny: WorldModel, three: Clip) -> None:
    """A gray frame takes its colors from the one beside it, and from no color at all it can't."""
    measured = Gray(torch.tensor([True, False, False])).apply(three.rgb)
    both = restore(tiny, measured, three.cameras, Gray(torch.tensor([True, False, False])), QUICK).rgb
    alone = restore(tiny, measured[1:], three.cameras[1:], Gray(torch.tensor([False, False])), QUICK).rgb
    assert float((psnr(both[1], three.rgb[1]) - psnr(alone[0], three.rgb[1])).mean()) > 2


def test_noise_is_a_level_to_start_from(tiny: WorldModel, three: Clip) -> None:
    sigma = 0.1
    noised = three.rgb + sigma * torch.randn_like(three.rgb)
    made = denoise(tiny, noised, three.cameras, sigma)
    assert bool((made.depth > 0).all())
    gain = psnr(made.rgb, three.rgb) - psnr(noised, three.rgb)
    assert float(gain.min()) > 6, gain
    wrong = denoise(tiny, noised, three.cameras, 4 * sigma)
    assert float((psnr(made.rgb, three.rgb) - psnr(wrong.rgb, three.rgb)).min()) > 1, "how strong it is matters"


def test_what_does_not_fit_is_said(tiny: WorldModel, three: Clip) -> None:
    rgb, cameras = three.rgb, three.cameras
    still = cameras[[0, 0]]
    for act, said in (
        (lambda: restore(tiny, rgb, cameras[[0, 1, 2] * 3], Downsample(1)), "restore longer clips in pieces"),
        (lambda: restore(tiny, rgb, cameras, Downsample(2)), r"measurement of shape \(3, 3, 64, 72\); expected"),
        (lambda: restore(tiny, rgb, cameras, Downsample(5)), "by 5"),
        (lambda: restore(tiny, rgb / 0, cameras, Blur.gaussian(1.0)), "NaN or infinite"),
        (lambda: restore(tiny, rgb, cameras, Inpaint(torch.zeros_like(mask()))), "nothing was measured"),
        (lambda: restore(tiny, rgb[:2], still, Blur.gaussian(1.0)), "all cameras are in one place"),
        (lambda: restore(tiny, rgb, cameras, Blur.gaussian(1.0), scale=0.0), "scene scale of 0"),
        (lambda: Restoration(steps=0), "0 sampling steps"),
        (lambda: Restoration(start=1.0), "from level 1.0"),
        (lambda: denoise(tiny, rgb[:2], cameras, 0.1), "noised images of shape"),
        (lambda: denoise(tiny, rgb, cameras, 0.0), "standard deviation 0"),
    ):
        with pytest.raises(InputError, match=said):
            act()


@pytest.mark.parametrize("sigma", [0.05, 0.25])
def test_denoising_starts_at_the_level_whose_noise_the_images_have(
    sigma: float, tiny: WorldModel, three: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals are 2 rgb - 1, so their noise is 2 sigma; flow has t / (1 - t) of it at level t."""
    seen = []

    def watched(denoiser: object, x0: Tensor, noise: Tensor, levels: Levels, *rest: object) -> object:
        seen.append((levels.matrix[0], noise[0, :, channels_of(tiny.modalities, "rgb")]))
        return sample(denoiser, x0, noise, levels, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(restoration, "sample", watched)
    denoise(tiny, three.rgb, three.cameras, sigma)
    ((first, added),) = seen
    assert torch.allclose(first[:, 0], torch.tensor(2 * sigma / (1 + 2 * sigma)), atol=1e-6)
    assert bool((first[:, 1] == 1).all()) and not bool(added.any()), "no more noise than there is"
