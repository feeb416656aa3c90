"""Metrics against the reference libraries, and where the result is known."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.errors import InputError
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim

_ATOL_DB = 5e-6  # the reference takes its logarithm in single precision


@pytest.fixture
def golden(shared: Path) -> dict[str, torch.Tensor]:
    """Numbers of torchmetrics and kornia for three pairs of images."""
    return {name: value.double() for name, value in load_file(shared / "golden" / "metrics_image.safetensors").items()}


def test_psnr_is_that_of_the_reference_image_by_image(golden) -> None:
    ours = psnr(golden["pred"], golden["target"])
    assert torch.allclose(ours, golden["psnr_per_image"], rtol=0, atol=_ATOL_DB)
    assert torch.allclose(ours.mean(), golden["psnr_batch_mean"], rtol=0, atol=_ATOL_DB)


def test_psnr_of_images_stacked_into_one_is_the_reference_pooled_over_the_batch(golden) -> None:
    pred, target = (golden[name].flatten(0, 1)[None] for name in ("pred", "target"))
    assert torch.allclose(psnr(pred, target), golden["psnr_batch_pooled"], rtol=0, atol=_ATOL_DB)


def test_ssim_is_that_of_the_reference_over_full_windows(golden) -> None:
    assert torch.allclose(ssim(golden["pred"], golden["target"]), golden["kornia_ssim11_valid"], rtol=0, atol=1e-9)


def test_single_precision_changes_no_digit_that_is_reported(golden) -> None:
    pred, target = golden["pred"].float(), golden["target"].float()
    assert torch.allclose(psnr(pred, target).double(), golden["psnr_per_image"], rtol=0, atol=1e-4)
    assert torch.allclose(ssim(pred, target).double(), golden["kornia_ssim11_valid"], rtol=0, atol=1e-5)


def test_an_error_of_a_tenth_everywhere_is_20_db_and_equal_images_are_infinite() -> None:
    a = torch.rand(2, 3, 3, 12, 14) * 0.9
    assert torch.allclose(psnr(a, a + 0.1), torch.full((2, 3), 20.0), atol=1e-4)
    assert psnr(a, a).isinf().all()


def test_only_the_pixels_in_the_mask_count_whatever_stands_outside() -> None:
    a = torch.full((2, 3, 8, 8), 0.5)
    b = a + 0.01
    b[..., :4] = math.nan
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    mask[0, ..., 4:] = True
    masked = psnr(a, b, mask)
    assert masked[0].item() == pytest.approx(40, abs=1e-3)
    assert masked[1].isnan()
    assert psnr(a, b).isnan().all()


def test_a_full_mask_is_no_mask() -> None:
    a, b = torch.rand(2, 4, 3, 9, 9)
    full = torch.ones(4, 1, 9, 9, dtype=torch.bool)
    assert torch.allclose(psnr(a, b, full), psnr(a, b), atol=1e-5)


def test_ssim_of_two_flat_images_is_their_luminance_term() -> None:
    a, b = (torch.full((3, 16, 20), value, dtype=torch.float64) for value in (0.2, 0.6))
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-9)
    assert ssim(a, a).item() == pytest.approx(1, abs=1e-12)


def test_ssim_of_a_negative_is_negative() -> None:
    a = torch.rand(3, 20, 20)
    assert ssim(a, 1 - a) < -0.5


def test_ssim_needs_a_whole_window() -> None:
    with pytest.raises(InputError, match=r"10x12 pixels; expected at least 11x11"):
        ssim(torch.rand(3, 12, 10), torch.rand(3, 12, 10))
    assert ssim(torch.rand(3, 11, 11), torch.rand(3, 11, 11)).shape == ()


@pytest.mark.parametrize(("factor", "abs_rel", "delta"), [(1.0, 0.0, 1), (1.2, 0.2, 1), (1.3, 0.3, 0), (0.7, 0.3, 0)])
def test_a_wrong_scale_is_its_own_error(factor: float, abs_rel: float, delta: float) -> None:
    true = 1 + 5 * torch.rand(2, 3, 1, 6, 7)
    errors = depth_errors(factor * true, true)
    assert torch.allclose(errors[0], torch.full((2, 3), abs_rel), atol=1e-5)
    assert torch.equal(errors[1], torch.full((2, 3), float(delta)))


def test_predicted_sky_counts_as_the_far_limit_and_is_a_miss_and_so_is_no_depth() -> None:
    true = torch.full((1, 2, 2), 15.0)
    for pred, abs_rel in ((math.inf, 1 / 3), (0.0, 1.0)):
        errors = depth_errors(torch.full_like(true, pred), true, far_m=20.0)
        assert errors[0].item() == pytest.approx(abs_rel)
        assert errors[1].item() == 0
    # Within 1.25 of the far limit all the same: a miss is decided before the clamp.
    assert depth_errors(torch.full_like(true, math.inf), torch.full_like(true, 19.0), far_m=20.0)[1].item() == 0


def test_only_known_finite_depth_within_the_far_limit_is_judged() -> None:
    true = torch.tensor([[[2.0, 0.0], [math.inf, 30.0]]])
    pred = torch.tensor([[[2.5, 9.0], [1.0, 1.0]]])
    assert depth_errors(pred, true, far_m=20.0)[0].item() == pytest.approx(0.25)
    nothing = torch.full_like(true, math.inf)
    assert all(value.isnan() for value in depth_errors(pred, nothing))


def test_bytes_have_the_psnr_of_what_they_mean() -> None:
    a, b = torch.randint(0, 256, (2, 3, 12, 16), generator=torch.Generator().manual_seed(0)).byte().split(1)
    assert torch.allclose(psnr(a, b), psnr(a / 255, b / 255), atol=1e-4)
    assert torch.allclose(psnr(a.numpy(), b.numpy()), psnr(a / 255, b / 255), atol=1e-4)
