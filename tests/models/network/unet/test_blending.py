"""Blending: which colors a pixel takes, and what it says of them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.network.unet.small import CONFIG, shown
from tests.models.tiny import awake
from worldgen.core.conditioning import Conditioning
from worldgen.models.network.unet.blending import Blend, Blending
from worldgen.models.network.unet.inputs import FrameInputs, Scene
from worldgen.models.network.unet.matching import Prior
from worldgen.sampling.process import Flow, per_channel

WIDTH, HW = 8, (16, 16)


@pytest.fixture
def blending() -> Blending:
    return awake(Blending(WIDTH))


def choosing(own: float, coarse: float, noised: float, sources: float = 0.0) -> Blending:
    """A blending whose choice depends on nothing: the logits of each."""
    made = awake(Blending(WIDTH))
    for layer in (made.own, made.score, made.correction):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    made.own.load_state_dict({"weight": made.own.weight, "bias": torch.tensor([0, 0, 0, own, coarse, noised])})
    made.score.load_state_dict({"weight": made.score.weight, "bias": torch.tensor([sources])})
    return made


def blended(
    blending: Blending, x: Tensor, level: Tensor, conditioning: Conditioning, **changes: Any
) -> tuple[Blend, FrameInputs, Scene]:
    """The frames at half an inverse unit of distance."""
    inputs = FrameInputs.of(x, level, conditioning)
    scene = Scene.of(conditioning, inputs, HW, CONFIG)
    b, f = level.shape[:2]
    options = {
        "features": torch.randn(b, f, WIDTH, *HW, generator=torch.Generator().manual_seed(0)),
        "inverse": torch.full((b, f, 1, *HW), 0.8),
        "depth": Prior(torch.full((b, f, 1, *HW), 0.8), torch.ones(b, f, 1, *HW)),
    } | changes
    made = blending(options["features"], inputs, options["depth"], scene.rays[1], options["inverse"], scene.apart_s)
    return made, inputs, scene


def test_what_is_looked_up_is_a_share_and_zero_where_no_source_sees_anything(blending: Blending) -> None:
    x, level, conditioning = shown(1, 3, known=1)
    inverse = torch.linspace(0, 2.8, 256).expand(1, 3, 1, 256).contiguous()
    made, _, scene = blended(blending, x, level, conditioning, inverse=inverse.unflatten(-1, HW))
    seen = scene.rays[1].places(inverse).seen.sum((1, 3)).view(1, 3, 1, *HW)
    assert made.looked_up.shape == (1, 3, 1, *HW) and bool(((made.looked_up >= 0) & (made.looked_up <= 1)).all())
    assert 0 < (seen[:, 2] == 0).sum() < 256
    assert bool((made.looked_up[seen == 0] == 0).all()) and bool((made.looked_up[seen > 0] > 0).all())
    nowhere = replace(conditioning, cameras_known=torch.tensor([False]))
    assert not blended(blending, x, level, nowhere)[0].looked_up.any()


def test_sources_alone_are_their_mean_color() -> None:
    x, level, conditioning = shown(1, 3)
    made, inputs, scene = blended(choosing(-50, -50, -50), x, level, conditioning)
    places = scene.rays[1].places(torch.full((1, 3, 1, 256), 0.8))
    colors = places.of(scene.rays[1].sources.of_frames(inputs.colors()))[0, :, :, 2, 0].unflatten(-1, HW)
    seen = places.seen[0, :, 2, 0].unflatten(-1, HW)
    mean = (colors * seen[:, None]).sum(0) / seen.sum(0).clamp_min(1)
    there = (seen.sum(0) > 0).expand(3, -1, -1)
    assert there.sum() > 300
    torch.testing.assert_close(made.blended[0, 2][there], mean[there])
    assert bool((made.looked_up[0, 2, 0][there[0]] > 0.999).all())


def test_the_coarse_clip_is_taken_where_there_is_one() -> None:
    x, level, conditioning = shown(1, 3)
    coarse = conditioning.coarse
    assert coarse is not None
    made, inputs, _ = blended(choosing(0, 60, 0), x, level, conditioning)
    torch.testing.assert_close(made.blended[:, 2], inputs.coarse[:, 2, :3])
    assert made.looked_up[:, 2].amax() < 1e-6
    coarse[:, 2] = torch.nan
    missing, _, _ = blended(choosing(0, 60, 0), x, level, conditioning)
    assert missing.looked_up[:, 2].amax() > 0.2
    without, _, _ = blended(choosing(0, 60, 0), x, level, replace(conditioning, coarse=None))
    torch.testing.assert_close(missing.blended[:, 2], without.blended[:, 2])


def test_a_frame_s_own_colors_are_taken_unless_they_are_noise() -> None:
    """At level 0.5 the inputs hold a quarter of a flow's signal, which is brought back; what is given is itself."""
    signal = torch.rand(1, 3, 4, *HW)
    level = torch.tensor([0.0, 0.5, 0.95])[None, :, None].expand(1, 3, 2).clone()
    process, t = Flow(0.5), per_channel(level, (3, 1))
    x = (1 - t) * signal / process.spread(t)
    conditioning = replace(shown(1, 3)[2], coarse=None)
    made, _, _ = blended(choosing(0, 0, 60), x, level, conditioning)
    torch.testing.assert_close(made.blended[:, :2], signal[:, :2, :3])
    other, _, _ = blended(choosing(0, 0, -60), x, level, conditioning)
    torch.testing.assert_close(made.blended[:, 2], other.blended[:, 2])
    plain, _, _ = blended(choosing(0, 0, 0), x, level, conditioning)
    torch.testing.assert_close(plain.blended[:, 0], signal[:, 0, :3])


def test_the_correction_comes_last_and_begins_as_nothing(blending: Blending) -> None:
    x, level, conditioning = shown(1, 3)
    made, _, _ = blended(Blending(WIDTH), x, level, conditioning)
    assert torch.equal(made.rgb, made.blended)
    made, _, _ = blended(blending, x, level, conditioning)
    assert not torch.allclose(made.rgb, made.blended)


def test_which_source_counts_depends_on_what_its_own_depth_says(blending: Blending) -> None:
    """Frames whose depth is known hide what is behind it."""
    x, level, conditioning = shown(1, 3)
    made, _, _ = blended(blending, x, level, conditioning)
    hidden = Prior(torch.full((1, 3, 1, *HW), 2.5), torch.ones(1, 3, 1, *HW))
    other, _, _ = blended(blending, x, level, conditioning, depth=hidden)
    assert not torch.allclose(made.looked_up[:, 2], other.looked_up[:, 2])
    unknown = (Prior(torch.full((1, 3, 1, *HW), d), torch.zeros(1, 3, 1, *HW)) for d in (0.8, 2.5))
    one, two = (blended(blending, x, level, conditioning, depth=prior)[0] for prior in unknown)
    torch.testing.assert_close(one.looked_up, two.looked_up)
