"""Memory renders for training show what was seen, where it was seen, with the faults memories have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from worldgen.core.clip import Clip
from worldgen.training.batches.memory_render import render_memory
from worldgen.training.batches.scene_stream import SceneStream


@pytest.fixture
def footage(run_of) -> Clip:
    config = run_of()
    config = replace(config, model=replace(config.model, size_px=64), data=replace(config.data, supersample=2))
    return SceneStream(config, torch.device("cpu")).footage(0).clip[0]


class Faultless(np.random.Generator):
    """Draws that ask for the first view alone, moved and holed in nothing."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def permutation(self, *args, **kwargs):  # type: ignore[override]
        return np.array([0, 1, 2])

    def integers(self, *args, **kwargs):  # type: ignore[override]
        return 1

    def random(self, *args, **kwargs):  # type: ignore[override]
        return 0.99

    def normal(self, loc=0.0, scale=1.0, size=None):  # type: ignore[override]
        return np.full(size or (), 1.0 if (loc, scale) == (0.0, 1.0) else 0.0)


def test_a_faultless_memory_shows_its_own_view_exactly_and_others_by_their_depth(footage: Clip) -> None:
    rgb, depth, visible = render_memory(footage, torch.arange(3), footage, Faultless())
    itself = (rgb[0] - footage.rgb[0]).abs().amax(0) < 1e-6  # a center may round into the next pixel
    assert visible[0].mean() > 0.9 and itself.double().mean() > 0.9
    for other in (1, 2):
        seen = visible[other] > 0
        agrees = ((depth[other] / footage.depth[other] - 1).abs() < 0.05)[seen]
        assert seen.double().mean() > 0.2 and agrees.double().mean() > 0.5


def test_memories_differ_by_draw_and_have_holes_and_errors(footage: Clip) -> None:
    shown = [render_memory(footage, torch.arange(3), footage[[2]], np.random.default_rng(n)) for n in range(12)]
    share = torch.stack([visible.mean((1, 2, 3)) for _, _, visible in shown])
    assert share.std() > 0.05 and share.max() <= 1
    off = [((d / footage.depth - 1).abs())[(v > 0) & d.isfinite() & footage.depth.isfinite()] for _, d, v in shown]
    assert 0.001 < float(torch.cat(off).median()) < 0.1
    again = render_memory(footage, torch.arange(3), footage[[2]], np.random.default_rng(0))
    assert all(torch.equal(a, b) for a, b in zip(again, shown[0]))
    for rgb, depth, visible in shown:
        assert not bool(rgb[(visible == 0).expand_as(rgb)].any()) and not bool(depth[visible == 0].any())
