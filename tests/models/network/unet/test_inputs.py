"""Inputs: what is given is read exactly, what is noise is not read at all, a coarse clip may have any size."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.camera.rays import plucker
from tests.models.network.unet.small import CONFIG, shown
from tests.models.tiny import posed
from worldgen.models.network.unet.inputs import DATA_STD, FrameInputs, Scene
from worldgen.models.network.unet.lookup import FrameRays
from worldgen.sampling.process import Flow, per_channel


def read(x0: Tensor, level: Tensor, coarse: Tensor | None = None, seed: int = 0) -> FrameInputs:
    """Clean signals as the denoiser of a flow hands them to its network at levels."""
    process, t = Flow(DATA_STD), per_channel(level, (3, 1))
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    x = process.add_noise(x0, noise, t) / process.spread(t)
    return FrameInputs.of(
        x, level, replace(posed(x0.shape[0], x0.shape[1], (x0.shape[-2], x0.shape[-1])), coarse=coarse)
    )


def levels(rgb: float, depth: float, batch: int = 1, frames: int = 2) -> Tensor:
    return torch.tensor([rgb, depth], dtype=torch.float32).expand(batch, frames, 2).clone()


def test_at_level_1_nothing_of_the_frames_is_read() -> None:
    x0 = torch.randn(1, 2, 4, 16, 16)
    one, other = (read(x0, levels(1, 1), seed=seed) for seed in (0, 1))
    assert not one.held.any() and torch.equal(one.stacked(), other.stacked())
    assert torch.equal(one.held_inverse, torch.ones_like(one.held_inverse)) and bool((one.trust == -1e4).all())


def test_what_is_given_is_read_exactly() -> None:
    x0 = torch.randn(1, 2, 4, 16, 16)
    found = read(x0, levels(0, 0))
    torch.testing.assert_close(found.held, x0)
    torch.testing.assert_close(found.colors(), x0[:, :, :3])
    torch.testing.assert_close(found.held_inverse, x0[:, :, 3:] + 1)
    assert bool((found.given == 1).all()) and bool((found.trust.sigmoid() > 0.999).all())


def test_each_modality_has_a_level_of_its_own() -> None:
    x0 = torch.randn(1, 2, 4, 16, 16)
    found = read(x0, levels(0, 1))
    torch.testing.assert_close(found.held[:, :, :3], x0[:, :, :3])
    assert not found.held[:, :, 3:].any()
    assert bool((found.given[:, :, 0] == 1).all()) and not found.given[:, :, 1].any()
    found = read(x0, levels(1, 0))
    torch.testing.assert_close(found.held[:, :, 3:], x0[:, :, 3:])
    assert not found.held[:, :, :3].any()


def test_between_levels_the_signal_is_told_as_far_as_it_can_be() -> None:
    """A flow's x is the signal times 1 - level, and noise; the inputs are weighed by 1 - level once more."""
    x0, level = torch.full((1, 2, 4, 16, 16), 0.4), levels(0.3, 0.3)
    process, t = Flow(DATA_STD), per_channel(level, (3, 1))
    x = 0.7 * x0 / process.spread(t)  # no noise
    found = FrameInputs.of(x, level, posed(1, 2))
    torch.testing.assert_close(found.held, DATA_STD * x * 0.7)
    torch.testing.assert_close(found.unbiased, x0)
    error = torch.tensor([0.1, 0.05]) / (0.3 / 0.7)  # of what else there is, over that of the noise
    torch.testing.assert_close(found.trust.flatten(2), (2 * error.log()).expand(1, 2, 2))
    assert not found.given.any()
    assert bool((read(x0, levels(0.05, 0.05)).given == 1).all()), "slightly noised history counts as given"


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (16, 16), (32, 32), (6, 10)])
def test_a_coarse_clip_may_have_any_size(size: tuple[int, int]) -> None:
    """A plane that rises to the right stays one."""
    coarse = ((torch.arange(size[1]) + 0.5) / size[1]).expand(1, 2, 4, *size)
    found = read(torch.zeros(1, 2, 4, 16, 16), levels(1, 1), coarse)
    expected = (torch.arange(16) + 0.5) / 16
    assert found.coarse.shape == (1, 2, 4, 16, 16) and bool((found.there == 1).all())
    torch.testing.assert_close(found.coarse[0, 1, 3, 5, 3:13], expected[3:13], atol=0.012, rtol=0)


def test_frames_without_a_coarse_clip_are_said_to_be() -> None:
    coarse = torch.full((1, 2, 4, 8, 8), 0.3)
    coarse[:, 1] = torch.nan
    found = read(torch.zeros(1, 2, 4, 16, 16), levels(1, 1), coarse)
    torch.testing.assert_close(found.coarse[:, 0], torch.full((1, 4, 16, 16), 0.3))
    assert bool((found.there[:, 0] == 1).all()) and not found.there[:, 1].any() and not found.coarse[:, 1].any()
    without = read(torch.zeros(1, 2, 4, 16, 16), levels(1, 1))
    assert torch.equal(without.stacked()[:, 1], found.stacked()[:, 1]) and not without.coarse.any()


def test_given_depth_is_the_prior_and_else_the_coarse_one_is() -> None:
    x0, coarse = torch.randn(1, 2, 4, 16, 16), torch.rand(1, 2, 4, 16, 16)
    level = levels(1, 1)
    level[:, 0, 1] = 0
    found = read(x0, level, coarse).depth_at(1)
    assert bool((found.known == 1).all())
    torch.testing.assert_close(found.inverse[:, 0], x0[:, 0, 3:] + 1)
    torch.testing.assert_close(found.inverse[:, 1], coarse[:, 1, 3:] + 1)
    small = read(x0, level, coarse).depth_at(4)
    torch.testing.assert_close(small.inverse[0, 1, 0, 0, 0], coarse[0, 1, 3, :4, :4].mean() + 1)
    coarse[:, 1] = torch.nan
    unknown = read(x0, level, coarse).depth_at(4)
    assert not unknown.known[:, 1].any() and bool((unknown.inverse[:, 1] == 1).all())
    torch.testing.assert_close(unknown.inverse[:, 0], small.inverse[:, 0])


def test_features_stand_beside_the_colors_of_their_pixels() -> None:
    x0 = torch.randn(1, 2, 4, 16, 16)
    found = read(x0, levels(0, 1)).with_colors(torch.ones(2, 5, 4, 4), 4)
    assert found.shape == (1, 2, 8, 4, 4) and bool((found[:, :, :5] == 1).all())
    torch.testing.assert_close(found[0, 1, 6, 2, 3], x0[0, 1, 1, 8:12, 12:16].mean())


def scene_of(known: int = 2, **changes: Tensor | None) -> Scene:
    x, level, conditioning = shown(2, 3, known=known)
    conditioning = replace(conditioning, **changes)
    return Scene.of(conditioning, FrameInputs.of(x, level, conditioning), (16, 16), CONFIG)


def test_sources_are_the_frames_whose_colors_are_given() -> None:
    sources = scene_of().rays[1].sources
    assert sources.index.tolist() == [[0, 1]] * 2 and bool(sources.allowed.all())
    assert not scene_of(known=0).rays[1].sources.allowed.any()


def test_the_order_of_frames_forbids_later_sources() -> None:
    allowed = scene_of(order=torch.tensor([[0, 1, 2], [0, 0, 0]])).rays[4].sources.allowed
    assert allowed[0].tolist() == [[True, False], [True, True], [True, True]] and bool(allowed[1].all())


def test_unknown_cameras_have_no_sources_and_no_rays() -> None:
    scene = scene_of(cameras_known=torch.tensor([False, True]))
    assert not scene.rays[2].sources.allowed[0].any() and bool(scene.rays[2].sources.allowed[1].all())
    assert not scene.directions[0].any() and bool(scene.directions[1].any())
    assert scene.directions.shape == (2, 3, 6, 4, 4)


def test_seconds_are_from_the_source_to_the_frame() -> None:
    x, level, conditioning = shown(1, 3)
    cameras = replace(conditioning.cameras, time_s=torch.tensor([[1.0, 3.0, 7.0]]))
    conditioning = replace(conditioning, cameras=cameras)
    scene = Scene.of(conditioning, FrameInputs.of(x, level, conditioning), (16, 16), CONFIG)
    assert scene.apart_s.tolist() == [[[0, 2, 6], [-2, 0, 4]]]


def test_what_is_computed_of_poses_is_of_full_precision() -> None:
    x, level, conditioning = shown(1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = Scene.of(conditioning, FrameInputs.of(x, level, conditioning), (16, 16), CONFIG)
    rays = FrameRays.of(conditioning.cameras, half.rays[1].sources, (16, 16))
    assert torch.equal(half.rays[1].turned, rays.turned) and torch.equal(half.rays[1].shift, rays.shift)
    assert torch.equal(half.directions, plucker(conditioning.cameras.resized((4, 4))))
