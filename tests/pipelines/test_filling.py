"""Frames generated request by request, from any known frames to any cameras."""

import pytest
import torch

from tests.models.tiny import awake, posed, tiny_model
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.filling import fill
from worldgen.pipelines.novel_views import Sampling
from worldgen.pipelines.view_schedule import Request, schedule_depth, schedule_path

SAMPLING = Sampling(steps=2)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """A random model of 3 frames of 16 pixels."""
    made = WorldModel.create(tiny_model())
    awake(made.network)
    return made.training(False)


@pytest.fixture
def clip() -> Clip:
    """Six frames, of which the first two are known."""
    rgb = torch.rand(6, 3, 16, 16)
    return Clip(rgb, torch.zeros_like(rgb[:, :1]), posed(1, 6).cameras[0])


KNOWN = torch.tensor([True, True, False, False, False, False])


def test_a_schedule_fills_every_frame_and_leaves_given_images_as_they_are(model: WorldModel, clip: Clip) -> None:
    requests = schedule_path(clip.cameras, [2, 3, 4, 5], [0, 1], model.config.frames, 1.0)
    requests += schedule_depth(requests, [0, 1], model.config.frames)
    steps = []
    made = fill(model, clip, KNOWN, requests, 1.0, SAMPLING, lambda: steps.append(1))
    assert torch.equal(made.rgb[:2], clip.rgb[:2]) and bool((made.depth > 0).all())
    assert bool((made.rgb[2:].flatten(1).std(1) > 0).all()) and len(steps) == 2 * len(requests)


def test_what_the_clip_holds_in_unknown_frames_does_not_matter(model: WorldModel, clip: Clip) -> None:
    other = Clip(torch.where(KNOWN[:, None, None, None], clip.rgb, torch.nan), clip.depth, clip.cameras)
    request = [Request((0, 1), (4,))]
    first, second = (fill(model, c, KNOWN, request, 1.0, SAMPLING) for c in (clip, other))
    assert torch.equal(first.rgb, second.rgb) and torch.equal(first.depth, second.depth)


def test_a_later_request_uses_what_an_earlier_one_made(model: WorldModel, clip: Clip) -> None:
    requests = [Request((0, 1), (2,)), Request((2,), (5,))]
    first, other = (fill(model, clip, KNOWN, requests, 1.0, Sampling(steps=2, seed=seed)) for seed in (0, 1))
    from_image = fill(model, clip, KNOWN, [Request((0,), (5,))], 1.0, SAMPLING)
    assert not torch.equal(first.rgb[5], from_image.rgb[5]) and not torch.equal(first.rgb[5], other.rgb[5])
    assert bool((first.rgb[3] == 0).all()) and bool((first.depth[3] == 0).all()), "in no request"


def test_the_estimated_depth_of_a_given_image_is_not_fed_back(model: WorldModel, clip: Clip) -> None:
    """A request from given images alone does not depend on those before it; their depth stays the first estimate."""
    once = fill(model, clip, KNOWN, [Request((0, 1), (4,))], 1.0, SAMPLING)
    later = fill(model, clip, KNOWN, [Request((0, 1), (2,)), Request((0, 1), (4,))], 1.0, SAMPLING)
    first = fill(model, clip, KNOWN, [Request((0, 1), (2,))], 1.0, SAMPLING)
    assert torch.equal(later.rgb[4], once.rgb[4]) and torch.equal(later.depth[4], once.depth[4])
    assert torch.equal(later.depth[:2], first.depth[:2]) and not torch.equal(later.depth[:2], once.depth[:2])
