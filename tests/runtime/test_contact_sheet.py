"""Contact sheets, pixel by pixel."""

import math

import pytest
import torch

from geometry.errors import InputError
from worldgen.runtime.contact_sheet import depth_image, grid


def test_every_image_stands_enlarged_in_its_cell_on_white() -> None:
    images = torch.rand(3, 3, 4, 5)
    sheet = grid([[images[0], images[1]], [images[2]]], enlarge=2, gap=3)
    assert sheet.shape == (3, 8 + 3 + 8, 10 + 3 + 10)
    for image, (top, left) in zip(images, [(0, 0), (0, 13), (11, 0)]):
        cell = sheet[:, top : top + 8, left : left + 10]
        assert torch.equal(cell[:, ::2, ::2], image) and torch.equal(cell[:, 1::2, 1::2], image)
        cell.fill_(1.0)
    assert torch.equal(sheet, torch.ones_like(sheet))


def test_images_of_two_sizes_or_none_are_refused() -> None:
    for rows in ([[torch.rand(3, 4, 4), torch.rand(3, 4, 5)]], [[]]):
        with pytest.raises(InputError, match="expected one shape"):
            grid(rows)


def test_nearer_is_brighter_and_beyond_the_limits_nothing_changes() -> None:
    depth = torch.tensor([0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 20.0])[None, None]
    brightness = depth_image(depth, 1.0, 8.0).mean(0)[0]
    assert brightness[0] == brightness[1] and brightness[5] == brightness[6]
    assert (brightness[1:6].diff() < 0).all()


def test_sky_and_unknown_have_colors_of_their_own() -> None:
    depth = torch.cat([torch.tensor([math.inf, 0.0]), torch.logspace(-1, 2, 500)])[None, None]
    colors = depth_image(depth, 1.0, 8.0)[:, 0].T
    assert (colors >= 0).all() and (colors <= 1).all()
    apart = torch.cdist(colors[:2], colors)
    apart[0, 0] = apart[1, 1] = math.inf
    assert float(apart.min()) > 0.05


def test_depth_is_shown_between_two_limits_in_order() -> None:
    with pytest.raises(InputError, match="expected 0 < near < far"):
        depth_image(torch.ones(1, 2, 2), 3.0, 2.0)


def test_colors_go_in_even_steps_of_inverse_depth() -> None:
    """Between 1 m and 4 m, 1.6 m is half way (1 / 1.6 = 0.625), where the ramp has its middle color."""
    near, middle, far = depth_image(torch.tensor([[[1.0, 1.6, 4.0]]]), 1.0, 4.0)[:, 0].T
    assert torch.allclose(near, torch.tensor([1.00, 0.96, 0.80]), atol=1e-6)
    assert torch.allclose(middle, torch.tensor([0.23, 0.64, 0.52]), atol=1e-5)
    assert torch.allclose(far, torch.tensor([0.10, 0.09, 0.26]), atol=1e-6)
