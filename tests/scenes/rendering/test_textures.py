"""Textures: each pattern varies, stays between its colors' extremes, and fades into its mean as a pixel grows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worldgen.scenes.families.builder import plain, texture
from worldgen.scenes.families.materials import anything, cloth, from_hsv, leaves, planks, sky, tiles, wall, wood
from worldgen.scenes.rendering.torch.textures import cell_random, evaluate, noise
from worldgen.scenes.textures import Pattern

DARK, LIGHT = (0.1, 0.1, 0.1), (0.9, 0.9, 0.9)
WEIGHT = {Pattern.WORLEY: (1.0, 0, 0), Pattern.WOOD: (1.0, 0, 0), Pattern.MARBLE: (1.0, 0, 0),
          Pattern.BRICKS: (0.5, 0.2, 0.0), Pattern.ROAD: (0.5, 1.0, 0.2), Pattern.SPECKLE: (0.6, 0, 0)}  # fmt: skip
VARIED = [pattern for pattern in Pattern if pattern is not Pattern.PLAIN]
UP = torch.tensor([0.0, 0.0, 1.0])


def gray(pattern: Pattern, points: Tensor, footprint: float | None = None, normal: Tensor = UP) -> Tensor:
    """The brightness [p] of a pattern of half-metre periods at points [p, 3]."""
    row = texture(pattern, DARK, LIGHT, 0.5, weight=WEIGHT.get(pattern, (0.6, 0.7, 0.0)), sharpness=6.0)
    columns = torch.from_numpy(row)[:, None]
    count = len(points)
    width = None if footprint is None else torch.full((count,), footprint)
    which = torch.zeros(count, dtype=torch.long)
    return evaluate(columns, which, points.T.contiguous(), normal.expand(count, 3).T, width)[0]


@pytest.mark.parametrize("pattern", VARIED)
def test_a_pattern_varies_between_its_two_colors_and_is_a_function_of_the_point(pattern: Pattern) -> None:
    points = 4 * torch.rand(4000, 3) - 2
    value = gray(pattern, points)
    assert value.std() > 0.08 and value.min() >= 0.05 and value.max() <= 1.15
    shuffled = torch.randperm(4000)
    assert torch.allclose(gray(pattern, points[shuffled]), value[shuffled], atol=1e-6)


@pytest.mark.parametrize("pattern", [pattern for pattern in VARIED if pattern not in (Pattern.WAVES, Pattern.GRADIENT)])
def test_a_pattern_finer_than_a_pixel_fades_to_about_its_mean(pattern: Pattern) -> None:
    points = 8 * torch.rand(20000, 3) - 4
    if pattern is Pattern.ROAD:
        points[:, 1] *= 0.75 / 4  # where its lines are
    sharp, tiny, wide = gray(pattern, points), gray(pattern, points, 1e-4), gray(pattern, points, 3.0)
    assert (sharp - tiny).abs().mean() < 0.05
    assert wide.std() < 0.3 * sharp.std()
    assert abs(float(wide.mean() - sharp.mean())) < 0.05


def test_flat_patterns_lie_on_the_surface_whichever_way_it_faces() -> None:
    points = 4 * torch.rand(500, 3) - 2
    for axis in range(3):
        normal = torch.eye(3)[axis]
        moved = points + torch.rand(500, 1) * normal  # through the surface, not along it
        for pattern in (Pattern.BRICKS, Pattern.GLYPHS):
            assert torch.allclose(gray(pattern, points, normal=normal), gray(pattern, moved, normal=normal), atol=1e-4)


def test_noise_has_about_unit_variance_and_its_octaves_fade_one_by_one() -> None:
    q = 40 * torch.rand(3, 20000)
    full = noise(q, 0.6, None)
    assert 0.7 < full.std() < 1.3 and full.mean().abs() < 0.1
    spread = [float(noise(q, 0.6, torch.full((20000,), width)).std()) for width in (0.0, 0.2, 0.8, 3.0)]
    assert spread == sorted(spread, reverse=True) and spread[0] == pytest.approx(float(full.std()), rel=1e-4)
    assert spread[-1] < 0.05


def test_random_numbers_of_cells_are_uniform_and_unlike_their_neighbors() -> None:
    cells = torch.stack(torch.meshgrid(torch.arange(-40, 40), torch.arange(-40, 40), indexing="ij")).flatten(1)
    numbers = cell_random(cells, 3)
    assert abs(float(numbers.mean()) - 0.5) < 0.02 and abs(float(numbers.std()) - 12**-0.5) < 0.01
    beside = numbers.view(80, 80)
    correlation = torch.corrcoef(torch.stack([beside[:, 1:].flatten(), beside[:, :-1].flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.04
    assert not torch.equal(numbers, cell_random(cells, 4))


def test_plain_is_its_color_everywhere() -> None:
    columns = torch.from_numpy(plain((0.2, 0.5, 0.7)))[:, None]
    points = torch.rand(3, 50)
    color = evaluate(columns, torch.zeros(50, dtype=torch.long), points, points, None)
    assert torch.allclose(color, torch.tensor([0.2, 0.5, 0.7])[:, None].expand(3, 50))


def test_points_of_many_textures_get_each_its_own() -> None:
    rows = [texture(Pattern.NOISE, DARK, LIGHT, 0.5), plain((0.3, 0.2, 0.1)), texture(Pattern.WORLEY, LIGHT, DARK, 0.5)]
    columns = torch.from_numpy(np.stack(rows)).T.contiguous()
    which, points = torch.randint(0, 3, (300,)), torch.rand(3, 300)
    together = evaluate(columns, which, points, points, None)
    for n in range(3):
        alone = evaluate(columns[:, n : n + 1], torch.zeros(300, dtype=torch.long), points, points, None)
        assert torch.allclose(together[:, which == n], alone[:, which == n], atol=1e-6)


def test_random_materials_are_rows_of_light_and_hues_are_those_of_the_color_wheel() -> None:
    for hue, wanted in ((0.0, (1, 0, 0)), (1 / 3, (0, 1, 0)), (2 / 3, (0, 0, 1))):
        assert np.allclose(from_hsv(hue, 1.0, 1.0) > 0.5, np.array(wanted) > 0.5)
    rng = np.random.default_rng(0)
    rows = [anything(rng, 1.0) for _ in range(200)]
    rows += [make(rng) for make in (wood, planks, tiles, wall, leaves) for _ in range(5)] + [cloth(rng, 1.0)]
    table = np.stack(rows)
    assert table.shape[1] == 25 and np.isfinite(table).all()
    assert (table[:, :6] >= 0).all() and (table[:, :6] <= 1).all()
    assert len(set(table[:, 23].tolist())) >= 9
    horizon, zenith = sky(rng)
    assert bool((horizon >= 0).all()) and bool((zenith <= 1).all())
