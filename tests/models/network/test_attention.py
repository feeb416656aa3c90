"""Where tokens are, for attention: projections and rotary angles against an independent computation."""

import math

import torch

from geometry.camera.projection import project
from tests.models.tiny import posed
from worldgen.models.network.attention import token_positions

HEAD = 32


def test_the_projective_half_takes_world_points_to_their_place_in_the_image_from_minus_to_plus_a_half() -> None:
    conditioning = posed(2, 3, (16, 24))
    where = token_positions(conditioning, (4, 6), HEAD, projective=True)
    assert where.project is not None and where.inverse is not None
    points = 0.3 * torch.randn(2, 3, 20, 3)
    uv, depth = project(conditioning.cameras, points)
    expected = uv / torch.tensor([24.0, 16.0]) - 0.5  # 0 in the middle: what the weights were trained with
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    for copy in range(HEAD // 8):  # a 4 x 4 matrix for every four channels
        block = where.project[..., 4 * copy : 4 * copy + 4, 4 * copy : 4 * copy + 4]
        seen = homogeneous @ block.mT
        assert torch.allclose(seen[..., 2], depth, atol=1e-5)
        assert torch.allclose(seen[..., :2] / seen[..., 2:3], expected, atol=1e-4)
    identity = torch.eye(HEAD // 2).expand(2, 3, -1, -1)
    assert torch.allclose(where.project @ where.inverse, identity, atol=1e-4)


def test_rotary_angles_are_those_of_the_centers_of_the_tokens_and_of_seconds() -> None:
    """The slowest wave of x and of y turns by a quarter over the image, that of time in 8 seconds."""
    conditioning = posed(1, 2)
    where = token_positions(conditioning, (2, 4), HEAD, projective=False)
    angle = torch.atan2(where.sine, where.cosine)[0]
    x, y, when = angle[..., 0], angle[..., 3], angle[..., 6]  # of 8 pairs: 3 for x, 3 for y, 2 for time
    across = torch.tensor([1, 3, 5, 7]) / 8 * math.pi / 2
    down = torch.tensor([1, 3]) / 4 * math.pi / 2
    assert torch.allclose(x, across.repeat(2).expand(2, -1), atol=1e-5)
    assert torch.allclose(y, down.repeat_interleave(4).expand(2, -1), atol=1e-5)
    assert torch.allclose(when, (conditioning.cameras.time_s[0] * math.pi / 16)[:, None].expand(2, 8), atol=1e-5)
