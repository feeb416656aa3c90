"""Real captures: what our cameras say of matched features is what COLMAP's say, and LiDAR falls into the images."""

from pathlib import Path

import pytest

from benchmarks import captures
from geometry.io.captures.colmap import read_colmap
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.captures.nuscenes import read_nuscenes_frame


def test_epipolar_errors_are_colmaps(shared: Path) -> None:
    pytest.importorskip("pycolmap")
    fox = shared / "data" / "fox" / "transforms.json"
    taken = read_transforms(fox)
    pairs = captures.matched(taken, 3)
    sparse = next((shared / "data" / "colmap_ethiopian_head").rglob("images.*[tn]")).parent
    model = read_colmap(sparse, need_images=False)
    seen = captures.observed(model)
    for captured, some, cameras in (
        (taken, pairs, captures.fox_by_colmap(fox)),
        (model.images, seen, captures.models_by_colmap(sparse)),
    ):
        ours = captures.our_errors(captured, some)
        theirs = captures.colmaps_errors(cameras, captured, some)
        assert len(ours) > 50 and float(ours.median()) < 1
        assert float(ours.median() / theirs.median()) == pytest.approx(1, abs=0.01)
        assert float(ours.mean() / theirs.mean()) == pytest.approx(1, abs=0.01)


def test_lidar_is_drawn_on_the_ground_and_not_in_the_sky(shared: Path) -> None:
    captured = read_nuscenes_frame(shared / "data" / "nuscenes_frame" / "sample.json")
    changed = (captures.overlay(captured, 1) != captured.frames[1].read()).any(0)
    height = changed.shape[0]
    assert float(changed[height // 2 :].float().mean()) > 0.1 and float(changed[: height // 5].float().mean()) < 0.02
