"""What guidance is judged by: motion read off images, and colors wherever they are."""

import pytest
import torch

from benchmarks.guidance import estimated_flow, palette_distance, textured
from worldgen.evaluation.metrics.pose import blurred


def test_the_flow_of_a_moving_image_is_found_where_it_has_texture() -> None:
    image = 0.5 + 2 * blurred(torch.rand(1, 1, 3, 48, 48) - 0.5, 1.5)
    clip = torch.cat([image, image.roll((1, -2), (-2, -1))], 1)
    flow, inner = estimated_flow(clip)[0, 0, :, 8:-8, 8:-8], textured(clip)[0, 0, 8:-8, 8:-8]
    assert int(inner.sum()) > 50
    error = (flow - torch.tensor([-2.0, 1.0])[:, None, None]).norm(dim=0)[inner]
    assert float(error.mean()) < 0.3
    assert not bool(textured(torch.full((1, 2, 3, 8, 8), 0.3)).any())


def test_the_palette_s_distance_is_that_of_colors_and_not_of_places() -> None:
    clip = torch.rand(2, 3, 3, 8, 8)
    assert palette_distance(clip, clip.flip(1).roll(3, -1)).tolist() == [0, 0]
    assert palette_distance(clip, clip + 0.25).tolist() == pytest.approx([0.25, 0.25])
