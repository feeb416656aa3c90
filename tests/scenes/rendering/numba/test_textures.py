"""The compiled textures are those of `worldgen.scenes.rendering.torch.textures`, point by point."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from worldgen.scenes.families.builder import texture as texture_row
from worldgen.scenes.families.materials import anything
from worldgen.scenes.rendering.torch.textures import evaluate
from worldgen.scenes.textures import Pattern

COUNT = 4000


@cache
def compiled() -> Any:
    """`texture`, which is for other compiled code, called from Python."""
    numba = pytest.importorskip("numba")
    from worldgen.scenes.rendering.numba.textures import texture

    return numba.njit(lambda *arguments: texture(*arguments))  # type: ignore[call-arg]


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("pattern", list(Pattern))
def test_compiled_textures_equal_torchs(pattern: Pattern, filtered: bool) -> None:
    run = compiled()
    from worldgen.scenes.rendering.numba.textures import TextureWorkspace

    rng = np.random.default_rng(int(pattern))
    rows = [row for row in (anything(rng, 1.0) for _ in range(400)) if row[23] == pattern][:4]
    for grain in (0.0, 0.3):
        row = texture_row(pattern, (0.1, 0.2, 0.3), (0.9, 0.7, 0.5), 0.4, weight=(0.6, 0.7, 0.2), sharpness=5.0)
        row[24] = grain
        rows.append(row)
    point = torch.from_numpy(rng.uniform(-3, 3, (3, COUNT))).float()
    normal = torch.from_numpy(rng.normal(size=(3, COUNT))).float()
    footprint = torch.from_numpy(10 ** rng.uniform(-4, 0.5, COUNT)).float()
    for row in rows:
        columns, which = torch.from_numpy(row)[:, None], torch.zeros(COUNT, dtype=torch.long)
        width = footprint if filtered else None
        rounded = evaluate(columns, which, point, normal, width)
        exact = evaluate(columns.double(), which, point.double(), normal.double(), width)
        found, widths = torch.empty_like(point), footprint if filtered else torch.zeros(COUNT)
        run(row, point.numpy(), normal.numpy(), widths.numpy(), COUNT, TextureWorkspace.of(COUNT), found.numpy())
        error, rounding = (found - exact).abs().amax(0), (rounded - exact).abs().amax(0)
        # Hard edges may fall on either side of a point; everywhere else only rounding differs.
        assert (error > 1e-4 + 4 * rounding).double().mean() < 2e-3, float(error.max())
        assert float(error.median()) < 1.5 * float(rounding.median()) + 1e-6


@pytest.mark.parametrize("pattern", list(Pattern))
def test_colors_are_colors_however_far_the_point(pattern: Pattern) -> None:
    run = compiled()
    from worldgen.scenes.rendering.numba.textures import TextureWorkspace

    rng = np.random.default_rng(100 + int(pattern))
    rows = [row for row in (anything(rng, 1.0) for _ in range(400)) if row[23] == pattern][:8]
    rows.append(texture_row(pattern, (0.1, 0.2, 0.3), (0.9, 0.7, 0.5), 0.4, weight=(0.6, 0.7, 0.2), sharpness=5.0))
    far = (10 ** rng.uniform(0, 9, COUNT)).astype(np.float32)
    point = (rng.normal(size=(3, COUNT)) * far).astype(np.float32)
    normal, found = rng.normal(size=(3, COUNT)).astype(np.float32), np.empty((3, COUNT), np.float32)
    for row in rows:
        for footprint in (np.zeros(COUNT, np.float32), 1e-3 * far):
            run(row, point, normal, footprint.astype(np.float32), COUNT, TextureWorkspace.of(COUNT), found)
            assert np.isfinite(found).all() and found.min() >= 0 and found.max() < 4, row[23]
