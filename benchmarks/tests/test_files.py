"""Random assets of every format are read by other people's libraries; what one finds wrong is reported."""

from pathlib import Path

import pytest
import torch

from benchmarks.files import formats
from benchmarks.files.judges import Tally, same
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud


@pytest.mark.parametrize("name", formats.FORMATS)
@pytest.mark.filterwarnings("ignore")  # from the libraries themselves
def test_nothing_is_found_wrong(name: str) -> None:
    tally = formats.check(name, 4, 1)
    assert tally.checked and tally.wrong == []


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(path: Path, shape: PointCloud | Mesh) -> None:
        if isinstance(shape, PointCloud):
            shape = PointCloud(shape.points + 1, shape.colors)
        write_ply(path, shape)

    write_ply = formats.write_ply
    monkeypatch.setattr(formats, "write_ply", shifted)
    tally = formats.check("PLY", 6, 1)
    assert any("positions" in line for line in tally.wrong)
    tally = Tally()
    tally.check("a library", lambda: same("numbers", [1.0, 2.0], torch.tensor([1.0, 2.0])))
    tally.check("a library", lambda: same("numbers", [1.0], torch.tensor([1.0, 2.0])))
    assert tally.checked == {"a library": 2}
    assert tally.wrong == ["a library: Wrong numbers of shape (1,); expected (2,)"]
