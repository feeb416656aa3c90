"""Camera paths in files come back as they were, and anything else is refused."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError, Note
from geometry.io.trajectories.pose_files import (
    read_cameras_json,
    read_kitti,
    read_kitti_cameras,
    read_tum,
    read_tum_cameras,
    write_cameras_json,
    write_kitti,
    write_tum,
)
from geometry.similarity import Similarity
from tests.geometry.camera.test_cameras import some_cameras


def path_of(count: int = 7) -> Cameras:
    plain = some_cameras((count,), (30, 50), 1)
    time_s = torch.arange(count).double() / 3
    return Cameras(plain.world_from_camera, plain.K, plain.hw, torch.arange(count) % 2, time_s)


def test_tum_and_kitti_come_back(tmp_path: Path) -> None:
    cameras = path_of()
    write_tum(tmp_path / "a.tum", cameras.time_s, cameras.world_from_camera)
    time_s, poses = read_tum(tmp_path / "a.tum")
    assert torch.equal(time_s, cameras.time_s) and torch.allclose(poses, cameras.world_from_camera, atol=1e-14)
    write_kitti(tmp_path / "a.kitti", cameras.world_from_camera)
    assert torch.allclose(read_kitti(tmp_path / "a.kitti"), cameras.world_from_camera, atol=1e-14)


def test_our_own_json_keeps_every_bit(tmp_path: Path) -> None:
    cameras = path_of()
    write_cameras_json(tmp_path / "a.json", cameras)
    back = read_cameras_json(tmp_path / "a.json")
    assert all(torch.equal(getattr(back, name), getattr(cameras, name)) for name in ("K", "view", "time_s"))
    assert torch.equal(back.world_from_camera, cameras.world_from_camera) and back.hw == cameras.hw


def test_a_world_to_store_in_is_kept_and_undone(tmp_path: Path) -> None:
    cameras = some_cameras((3,), (10, 12), 1)
    middle = Similarity.normalizing(cameras.centers)
    write_cameras_json(tmp_path / "a.json", cameras, stored_from_user=middle)
    found = read_cameras_json(tmp_path / "a.json")
    assert torch.allclose(found.world_from_camera, cameras.world_from_camera, atol=1e-12)
    stored = torch.tensor([c["world_from_camera"] for c in json.loads((tmp_path / "a.json").read_text())["cameras"]])
    assert float(stored[:, :3, 3].norm(dim=-1).mean()) == pytest.approx(1, abs=1e-6)


def test_lenses_are_kept_too(tmp_path: Path) -> None:
    plain = path_of(3)
    kinds = torch.tensor([LensKind.FISHEYE, LensKind.PINHOLE, LensKind.OPENCV])
    coefficients = torch.zeros(3, 8, dtype=torch.float64)
    coefficients[0, :4], coefficients[2, :5] = torch.rand(4) / 10, torch.rand(5) / 10
    cameras = Cameras(plain.world_from_camera, plain.K, plain.hw, lens=Lens(kinds, coefficients))
    write_cameras_json(tmp_path / "a.json", cameras)
    lens = read_cameras_json(tmp_path / "a.json").lens
    assert lens is not None and cameras.lens is not None and torch.equal(lens.kind, kinds)
    assert torch.equal(lens.coefficients, coefficients) and torch.equal(lens.reach, cameras.lens.reach)
    data = json.loads((tmp_path / "a.json").read_text())
    data["cameras"][0]["lens"]["kind"] = "MONOCLE"
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"MONOCLE.*FISHEYE"):
        read_cameras_json(tmp_path / "a.json")


def test_real_files_are_read(shared: Path) -> None:
    found = [file for file in (shared / "data" / "trajectories").rglob("*") if file.suffix in (".txt", ".tum")]
    assert found
    for file in found:
        numbers = [line.split() for line in file.read_text().splitlines() if line and not line.startswith("#")]
        if len(numbers[0]) == 8:
            time_s, poses = read_tum(file)
            assert len(poses) == len(numbers) and bool((time_s.diff() > 0).all())
        elif len(numbers[0]) == 12:
            assert len(read_kitti(file)) == len(numbers)


def test_another_library_reads_what_is_written(tmp_path: Path) -> None:
    evo = pytest.importorskip("evo.tools.file_interface")
    cameras = path_of()
    write_tum(tmp_path / "a.tum", cameras.time_s, cameras.world_from_camera)
    write_kitti(tmp_path / "a.kitti", cameras.world_from_camera)
    tum, kitti = evo.read_tum_trajectory_file(tmp_path / "a.tum"), evo.read_kitti_poses_file(tmp_path / "a.kitti")
    for theirs in (tum, kitti):
        poses = torch.stack([torch.as_tensor(pose) for pose in theirs.poses_se3])
        assert torch.allclose(poses, cameras.world_from_camera, atol=1e-12)


READERS: dict[str, Callable[[Path], object]] = {"tum": read_tum, "kitti": read_kitti, "json": read_cameras_json}


def written(folder: Path, kind: str) -> Path:
    cameras, path = path_of(), folder / f"a.{kind}"
    match kind:
        case "tum":
            write_tum(path, cameras.time_s, cameras.world_from_camera)
        case "kitti":
            write_kitti(path, cameras.world_from_camera)
        case _:
            write_cameras_json(path, cameras)
    return path


@pytest.mark.parametrize("kind", READERS)
def test_a_thousand_spoilt_files_are_an_input_error_or_cameras(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    whole, draw = path.read_bytes(), random.Random(kind)
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 5)):
            place = draw.randrange(len(data))
            match draw.randrange(4):
                case 0:
                    data[place] = draw.randrange(256)
                case 1:
                    del data[place : place + draw.randint(1, 200)]
                case 2:
                    data[place:place] = draw.choice([b"nan", b"1e999", b"-", b"[", b"{", b'"', b"\n", b"0" * 30])
                case _:
                    del data[place:]
            data = data or bytearray(b" ")
        path.write_bytes(bytes(data))
        try:
            READERS[kind](path)
        except InputError as error:
            assert "\n" not in str(error)


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, refused) -> None:
    path = tmp_path / "a"
    for text, reader, words in (
        ("0 0 0 0 0 0 0 1\n1 2 3\n", read_tum, ("line 2", "3 numbers", "8")),
        ("0 0 0 0 0 0 0 2\n", read_tum, ("line 1", "length 2")),
        ("# nothing\n", read_tum, ("no poses",)),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", read_kitti, ("line 1", "mirrors")),
        ('{"format": "x"}', read_cameras_json, ("another format",)),
    ):
        path.write_text(text)
        with refused(*words):
            reader(path)
    cameras = path_of(2)
    write_cameras_json(path, cameras)
    data = json.loads(path.read_text())
    data["cameras"][1]["K"][0][0] = -1.0
    path.write_text(json.dumps(data))
    with refused("camera 1", "focal lengths"):
        read_cameras_json(path)
    with pytest.raises(InputError, match="determinant -1"):
        write_tum(path, cameras.time_s, cameras.world_from_camera * torch.tensor([-1.0, 1, 1, 1]))


def test_tum_s_last_four_columns_are_x_y_z_w(tmp_path: Path) -> None:
    """A quarter turn about z takes x to y: the scalar comes last, in the reader and in the writer."""
    half = 0.5**0.5
    (tmp_path / "a.tum").write_text(f"1.5 1 2 3 0 0 {half} {half}\n")
    time_s, poses = read_tum(tmp_path / "a.tum")
    quarter = torch.tensor([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], dtype=torch.float64)
    assert time_s.tolist() == [1.5] and torch.allclose(poses[0], quarter, atol=1e-12)
    write_tum(tmp_path / "b.tum", torch.tensor([1.5]), quarter[None])
    (row,) = [line for line in (tmp_path / "b.tum").read_text().splitlines() if not line.startswith("#")]
    assert [float(word) for word in row.split()] == pytest.approx([1.5, 1, 2, 3, 0, 0, half, half])


def test_cameras_of_a_list_of_poses_have_its_times_and_kitti_s_are_counted(tmp_path: Path) -> None:
    cameras = path_of(4)
    write_tum(tmp_path / "a.tum", cameras.time_s, cameras.world_from_camera)
    write_kitti(tmp_path / "a.kitti", cameras.world_from_camera)
    tum = read_tum_cameras(tmp_path / "a.tum", 60.0, (12, 20))
    kitti = read_kitti_cameras(tmp_path / "a.kitti", 60.0, (12, 20))
    assert torch.equal(tum.time_s, cameras.time_s) and kitti.time_s.tolist() == [0, 1, 2, 3]
    for found in (tum, kitti):
        assert found.hw == (12, 20) and torch.allclose(found.centers, cameras.centers, atol=1e-12)
        focal = 6 / math.tan(math.radians(30))  # over the shorter side
        expected = torch.tensor([[focal, 0, 10], [0, focal, 6], [0, 0, 1]], dtype=torch.float64)
        assert torch.allclose(found.K, expected.expand(4, 3, 3))
    with pytest.warns(Note, match="50 degrees are assumed"):
        assumed = read_kitti_cameras(tmp_path / "a.kitti", hw=(12, 20))
    assert float(assumed.K[0, 0, 0]) == pytest.approx(6 / math.tan(math.radians(25)))
