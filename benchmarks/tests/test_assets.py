"""From images with exact depth to a textured mesh."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.assets import around, inside, measure


def test_the_box_and_its_cameras_are_around_the_table() -> None:
    cameras = around(24, 8)
    assert torch.allclose((cameras.centers - torch.tensor([0, 0, 0.25])).norm(dim=-1), torch.tensor(3.2))
    points = torch.tensor([[0.0, 0, 0], [1.55, 0, 0], [0, 0, 2.0]])
    assert inside(points, 0.0).tolist() == points[:2].tolist() and inside(points, 0.06).tolist() == [[0, 0, 0]]


@pytest.mark.slow
def test_a_fused_mesh_is_within_half_a_voxel_and_its_baked_texture_reaches_30_db(tmp_path: Path) -> None:
    pytest.importorskip("xatlas")
    voxel = 0.02
    report: dict[str, Any] = measure("tabletop", 0, 0, 24, 128, voxel, 10_000, 640, tmp_path)
    chamfer = report["chamfer_m"]
    assert chamfer["fused"]["mean"] < voxel / 2
    if "fused to Open3D" in chamfer:
        assert chamfer["fused to Open3D"]["mean"] < voxel / 4
        assert abs(chamfer["fused"]["mean"] - chamfer["Open3D"]["mean"]) < voxel / 10
    baked = report["pictures"]["simplified, baked"]
    assert baked["psnr"] > 30 and baked["covered"] > 0.7
    assert baked["psnr"] > report["pictures"]["simplified, vertex colors"]["psnr"] + 3
    assert json.dumps(report) and (tmp_path / "textured.glb").is_file() and (tmp_path / "sheet.png").is_file()
