"""Random assets of every format stand before other people's readers; a judge that finds something wrong is heard."""

from pathlib import Path

import pytest
import torch

from benchmarks import files


@pytest.mark.parametrize("name", files.FORMATS)
@pytest.mark.filterwarnings("ignore")  # of the judges' own making
def test_nothing_is_found_wrong(name: str) -> None:
    tally = files.judge(name, 4, 1)
    assert tally.judged and tally.wrong == []


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(path: Path, shape: files.PointCloud | files.Mesh) -> None:
        if isinstance(shape, files.PointCloud):
            shape = files.PointCloud(shape.points + 1, shape.colors)
        files_write(path, shape)

    files_write = files.write_ply
    monkeypatch.setattr(files, "write_ply", shifted)
    tally = files.judge("PLY", 6, 1)
    assert any("positions" in line for line in tally.wrong)
    tally = files.Tally()
    tally.ask("a judge", lambda: files.same("numbers", [1.0, 2.0], torch.tensor([1.0, 2.0])))
    tally.ask("a judge", lambda: files.same("numbers", [1.0], torch.tensor([1.0, 2.0])))
    assert tally.judged == {"a judge": 2} and tally.wrong == ["a judge: Wrong numbers of shape (1,); expected (2,)"]
