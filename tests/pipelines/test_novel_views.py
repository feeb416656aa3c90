"""What one call of the sampler is given: images, and depth where a frame has all of it."""

import pytest
import torch

from tests.models.tiny import awake, posed, tiny_model
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views

SAMPLING = Sampling(steps=2, guidance=1.0)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """A random model of 3 frames of 16 pixels."""
    made = WorldModel.create(tiny_model())
    awake(made.network)
    return made.training(False)


def test_a_frame_s_depth_is_given_where_all_of_it_is_known_and_kept_where_some_is(model: WorldModel) -> None:
    cameras = posed(1, 3).cameras
    rgb, whole = torch.rand(1, 2, 3, 16, 16), 0.5 + torch.rand(1, 2, 1, 16, 16)
    partly, none = whole.clone(), torch.zeros_like(whole)
    partly[..., :5, :] = 0

    def made(depth: torch.Tensor) -> Clip:
        return generate_views(model, Clip(rgb, depth, cameras[:, :2]), cameras[:, 2:], 1.0, SAMPLING)

    blind, some, seeing = made(none), made(partly), made(whole)
    assert torch.equal(some.rgb[:, 2], blind.rgb[:, 2]) and not torch.equal(seeing.rgb[:, 2], blind.rgb[:, 2])
    for given, clip in ((none, blind), (partly, some), (whole, seeing)):
        assert torch.equal(clip.rgb[:, :2], rgb) and bool((clip.depth > 0).all())
        assert torch.equal(clip.depth[:, :2][given > 0], given[given > 0])
    assert torch.equal(some.depth[:, :2][partly == 0], blind.depth[:, :2][partly == 0])
