"""From images with exact depth to a textured mesh."""

from pathlib import Path

import pytest
import torch

from benchmarks.assets import Settings, around, inside, measure, report_of
from benchmarks.shared.report import Report


def test_the_box_and_its_cameras_are_around_the_table() -> None:
    cameras = around(24, 8)
    assert torch.allclose((cameras.centers - torch.tensor([0, 0, 0.25])).norm(dim=-1), torch.tensor(3.2))
    points = torch.tensor([[0.0, 0, 0], [1.55, 0, 0], [0, 0, 2.0]])
    assert inside(points, 0.0).tolist() == points[:2].tolist() and inside(points, 0.06).tolist() == [[0, 0, 0]]


@pytest.mark.slow
def test_a_fused_mesh_is_within_half_a_voxel_and_its_baked_texture_reaches_30_db(tmp_path: Path) -> None:
    pytest.importorskip("xatlas")
    voxel = 0.02
    found = measure(Settings(voxel=voxel), tmp_path)
    assert found.distances["fused"].mean_m < voxel / 2
    if "fused to Open3D" in found.distances:
        assert found.distances["fused to Open3D"].mean_m < voxel / 4
        assert abs(found.distances["fused"].mean_m - found.distances["Open3D"].mean_m) < voxel / 10
    baked = found.images["simplified, baked"]
    assert baked.psnr > 30 and baked.covered > 0.7
    assert baked.psnr > found.images["simplified, vertex colors"].psnr + 3
    report_of(Settings(voxel=voxel), found).write(tmp_path / "report.json")
    assert "simplified, baked" in Report.read(tmp_path / "report.json").markdown()
    assert (tmp_path / "textured.glb").is_file() and (tmp_path / "sheet.png").is_file()
