"""Gaussians fitted to a tabletop, as the benchmark does it."""

import pytest
import torch

from benchmarks.splats import GIVEN, HELD_OUT, fit
from worldgen.evaluation.sets.orbit import OrbitSet


@pytest.mark.slow
def test_a_tabletop_is_fitted_to_more_than_25_db_on_held_out_views() -> None:
    clip = OrbitSet("tabletop", 0, 1, 128, 2, (GIVEN,), HELD_OUT, {"full": 180.0}).clip("full")[0]
    (fitted, start, nearest), images = fit(clip, {})
    assert fitted.psnr > 28 and fitted.psnr > max(start.psnr, nearest.psnr) + 5
    assert fitted.ssim > 0.9 and fitted.abs_rel is not None and fitted.abs_rel < 0.05
    assert all(bool(image.isfinite().all()) for row in images for image in row)
    assert torch.equal(images[0][0], clip.rgb[GIVEN])
