"""Point clouds over time in a folder."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from geometry.io.assets.ply import write_ply
from geometry.io.assets.point_sequence import read_point_sequence, write_point_sequence
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import rotation_about
from geometry.similarity import Similarity


def cloud(count: int) -> PointCloud:
    normals = torch.nn.functional.normalize(torch.randn(count, 3), dim=-1)
    return PointCloud(torch.randn(count, 3), torch.randint(0, 256, (count, 3)).float() / 255, normals)


def written(folder: Path) -> tuple[dict[str, Any], Path]:
    """The index of a good sequence of three clouds, and its file."""
    write_point_sequence(folder, [(0.1 * n, cloud(4 + n)) for n in range(3)])
    return json.loads((folder / "index.json").read_text()), folder / "index.json"


def test_a_sequence_comes_back_with_its_times_and_frame_through_the_world_it_is_stored_in(tmp_path) -> None:
    clouds = [cloud(5), cloud(0), cloud(9)]
    turn = rotation_about(torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor(0.4).double())
    change = Similarity(torch.tensor(2.5).double(), turn, torch.tensor([1.0, 2.0, 3.0]).double())
    times = (-0.5, 1 / 3, 7.0)
    write_point_sequence(tmp_path / "a", zip(times, clouds), "map", change)
    found = read_point_sequence(tmp_path / "a")
    assert found.time_s == times and found.frame == "map" and len(found) == 3
    for ours, theirs in zip(clouds, found, strict=True):
        assert torch.allclose(ours.points.double(), theirs.points, atol=1e-5)
        assert torch.equal(ours.colors, theirs.colors)
        assert ours.normals is not None and theirs.normals is not None
        assert torch.allclose(ours.normals, theirs.normals, atol=1e-6)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["000000.ply", "000001.ply", "000002.ply", "index.json"]
    stored = (tmp_path / "a" / "000002.ply").read_bytes()
    assert b"comment stored_from_user {" in stored


def test_a_sequence_that_was_cut_short_has_no_index_and_a_whole_one_is_not_written_over(tmp_path, refused) -> None:
    def broken():
        yield 0.0, cloud(3)
        raise RuntimeError("out of power")

    with pytest.raises(RuntimeError):
        write_point_sequence(tmp_path / "a", broken())
    with refused("index.json", "no such file"):
        read_point_sequence(tmp_path / "a")
    _, index = written(tmp_path / "a")
    before = index.read_bytes()
    with refused("already"):
        write_point_sequence(tmp_path / "a", [(0.0, cloud(3))])
    assert index.read_bytes() == before
    for clouds, word in (([], "no point clouds"), ([(1.0, cloud(2)), (1.0, cloud(2))], "increasing times")):
        with refused(word):
            write_point_sequence(tmp_path / "c", clouds)
    with refused("NaN", "finite"):
        write_point_sequence(tmp_path / "c", [(math.nan, cloud(2))])


def test_files_outside_the_folder_are_refused(tmp_path, refused) -> None:
    data, index = written(tmp_path / "a")
    write_ply(tmp_path / "secret.ply", cloud(3))
    (tmp_path / "a" / "link.ply").symlink_to(tmp_path / "secret.ply")
    inside = str(tmp_path / "a" / "000000.ply")
    for name in (
        "../secret.ply",
        "link.ply",
        str(tmp_path / "secret.ply"),
        inside,
        "C:\\secret.ply",
        "x/../../secret.ply",
    ):
        data["frames"][1]["file"] = name
        index.write_text(json.dumps(data))
        with refused("frame 1"):
            read_point_sequence(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "other"}, "format"),
        ({"frames": []}, "no frames"),
        ({"frames": None}, "frames"),
        ({"frames": [3]}, "file and a time"),
        ({"frames": [{"time_s": 0}]}, "null"),
        ({"frames": [{"file": "", "time_s": 0}]}, "no file"),
        ({"frames": [{"file": "gone.ply", "time_s": 0}]}, "gone.ply"),
        ({"frames": [{"file": "a\0b", "time_s": 0}]}, "file name"),
        ({"frames": [{"file": "\ud800", "time_s": 0}]}, "file name"),
        ({"frames": [{"file": "000000.ply"}]}, "null"),
        ({"frames": [{"file": "000000.ply", "time_s": n} for n in (2, 1)]}, "increasing times"),
        ({"frame": 7}, "a name"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, refused, change, word) -> None:
    data, index = written(tmp_path)
    index.write_text(json.dumps(data | change))
    with refused(index, word):
        read_point_sequence(tmp_path)


def test_a_corrupt_index_raises_nothing_but_one_line(tmp_path) -> None:
    good, index = written(tmp_path)[1].read_bytes(), tmp_path / "index.json"
    refused = 0
    for n in range(0, len(good), 3):
        index.write_bytes(good[:n] + bytes([(37 * n) % 256]) + good[n + 1 :] if n % 2 else good[:n])
        try:
            read_point_sequence(tmp_path)
        except InputError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
            refused += 1
    assert refused > 50


def test_a_mesh_is_no_moment_of_a_sequence(tmp_path, refused) -> None:
    written(tmp_path)
    write_ply(tmp_path / "000001.ply", Mesh(torch.rand(3, 3), torch.tensor([[0, 1, 2]])))
    sequence = read_point_sequence(tmp_path)
    assert len(sequence[0]) == 4
    with refused("000001.ply", "a mesh"):
        sequence[1]
