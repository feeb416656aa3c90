"""Sweeps take images of any usual type and layout, as every function does (`geometry.image.coercion`)."""

from pathlib import Path

import pytest
import torch

import geometry
from tests.geometry.image.test_coercion import COLORS, DEPTHS, RIGHT, SWEPT, Entry, check, scene

CAMERAS = scene()[2]
PLANES = torch.linspace(0.1, 1.0, 8)
WARPS = {"warp_at_inverse_depth.images", "warp_at_inverse_depth.inverse_depth"}
ENTRIES = {
    "sweep_view.images": Entry((), lambda x, z, p: geometry.sweep_view(x, CAMERAS, CAMERAS[1], PLANES).expected_rgb),
    "sweep_costs.images": Entry((), lambda x, z, p: geometry.sweep_costs(x, CAMERAS, CAMERAS[1], PLANES)),
    "sweep_costs.own": Entry(
        (), lambda x, z, p: geometry.sweep_costs(scene()[0], CAMERAS, CAMERAS[1], PLANES, own=x), single=True
    ),
    "nearest_depth.images": Entry((), lambda x, z, p: torch.tensor(geometry.nearest_depth(x, CAMERAS))),
    "warp_at_inverse_depth.images": Entry(
        (), lambda x, z, p: geometry.warp_at_inverse_depth(x, CAMERAS, CAMERAS[0], z[0])[0]
    ),
    "warp_at_inverse_depth.inverse_depth": Entry(
        (), lambda x, z, p: geometry.warp_at_inverse_depth(x, CAMERAS, CAMERAS[0], z)[0], single=True
    ),
}


@pytest.mark.parametrize("case", COLORS)
@pytest.mark.parametrize(
    "entry", ["sweep_view.images", "sweep_costs.images", "sweep_costs.own", "nearest_depth.images"]
)
def test_colors_in_every_form(entry: str, case: str, tmp_path: Path) -> None:
    if entry == "sweep_costs.own" and case in ("nothing", "texts", "ragged"):
        pytest.skip("it may be left out, and one image of such a list is another case")
    where, (frames, depth, _) = ENTRIES[entry], scene()
    check(where, COLORS[case], frames, lambda x: where.call(x, depth, tmp_path), COLORS[case].right == RIGHT)


@pytest.mark.parametrize("case", DEPTHS)
def test_inverse_depth_in_every_form(case: str, tmp_path: Path) -> None:
    where, (frames, depth, _) = ENTRIES["warp_at_inverse_depth.inverse_depth"], scene()
    check(where, DEPTHS[case], depth, lambda z: where.call(frames, z, tmp_path), DEPTHS[case].right == RIGHT)


@pytest.mark.parametrize("case", ["float64", "float16", "uint8", "uint16", "numpy", "bool", "int64"])
def test_warped_maps_in_every_type(case: str, tmp_path: Path) -> None:
    where, (frames, depth, _) = ENTRIES["warp_at_inverse_depth.images"], scene()
    check(where, COLORS[case], frames, lambda x: where.call(x, depth, tmp_path), COLORS[case].right == RIGHT)


def test_these_are_all() -> None:
    assert set(ENTRIES) == SWEPT
