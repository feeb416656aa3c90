"""Temporary files: no name is guessed, no link followed, every mode is the umask's, and only our own debris goes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io import files, formats, temporaries
from geometry.io.files import replacing, write_file, write_folder
from geometry.io.images import write_depth_png, write_png
from geometry.io.temporaries import abandoned, alive, is_temporary, started, sweep, temporary_name
from geometry.io.video import write_mp4
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from geometry.trajectory.paths import orbit
from worldgen.models.weights import write_weights

CAMERAS = replace(Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 3), 50.0, (16, 16)), time_s=torch.arange(3.0))
MESH = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]), torch.eye(3))
POINTS = PointCloud(torch.eye(3), torch.eye(3))
WRITERS: dict[str, Callable[[Path], object]] = {
    "a.bin": lambda path: write_file(path, b"data"),
    "a.png": lambda path: write_png(path, torch.rand(3, 4, 4)),
    "d.png": lambda path: write_depth_png(path, torch.ones(1, 4, 4), 0.001),
    "a.mp4": lambda path: write_mp4(path, torch.rand(2, 3, 16, 16), 12.0),
    "transforms.json": lambda path: formats.write_cameras(path, CAMERAS),
    "a.json": lambda path: formats.write_cameras(path, CAMERAS),
    "a.tum": lambda path: formats.write_cameras(path, CAMERAS),
    "a.kitti": lambda path: formats.write_cameras(path, CAMERAS),
    "a.re10k": lambda path: formats.write_cameras(path, CAMERAS),
    "a.ply": lambda path: formats.write(path, POINTS, "points"),
    "a.glb": lambda path: formats.write(path, MESH, "mesh"),
    "a.obj": lambda path: formats.write(path, MESH, "mesh"),
    "weights.safetensors": lambda path: write_weights({"a": torch.ones(2)}, path.parent),
    "model": lambda path: formats.write_cameras(path, CAMERAS),
}


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def left_by(path: Path, pid: int, start: int = 1) -> Path:
    """The name that a temporary file of another process would have."""
    own = f"{os.getpid()}-{started(os.getpid())}"
    return path.with_name(temporary_name(path).name.replace(own, f"{pid}-{start}"))


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_leaves_the_mode_of_a_new_file_and_nothing_beside_it(
    tmp_path: Path, umask: int, name: str
) -> None:
    WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    for path in (tmp_path / name, *(tmp_path / name).rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_planted_under_the_temporary_name_is_never_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    guessed = tmp_path / "out" / ".guessed.json"
    guessed.symlink_to(victim)
    for module in (files, temporaries):
        monkeypatch.setattr(module, "temporary_name", lambda path: path.with_name(".guessed.json"))
    with pytest.raises(InputError, match="cannot be written"):
        WRITERS[name](tmp_path / "out" / name)
    assert victim.read_text() == "mine"


def test_names_are_not_repeated_and_fit_however_long_the_name_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    names = {temporary_name(path).name for _ in range(100)}
    assert len(names) == 100 and all(name.startswith(".a.") and name.endswith(".png") for name in names)
    for long in ("x" * 250 + ".png", "ä" * 120 + ".png", "a." + "s" * 240):
        write_file(tmp_path / long, b"x")
        assert (tmp_path / long).read_bytes() == b"x"


def test_a_link_in_place_of_a_file_is_replaced_and_what_it_points_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "a.txt").symlink_to(tmp_path / "mine.txt")
    write_file(tmp_path / "a.txt", b"new")
    assert (tmp_path / "mine.txt").read_text() == "mine" and (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()


def test_a_temporary_file_that_became_a_link_is_not_moved_into_place(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="replaced by something else"), replacing(tmp_path / "a.txt") as temporary:
        temporary.unlink()
        temporary.symlink_to(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_when_writing_ends_early(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise error

    with pytest.raises(error), replacing(tmp_path / "a.txt"):
        interrupted()
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(error):
        write_folder(tmp_path / "folder", {"a": b"x"})
    assert list(tmp_path.iterdir()) == []


def test_only_what_dead_processes_of_ours_left_is_swept(tmp_path: Path) -> None:
    pid = dead()
    ours = [left_by(tmp_path / "a.bin", pid), left_by(tmp_path / "sub" / "b.bin", pid), left_by(tmp_path / "f", pid)]
    running = [left_by(tmp_path / "a.bin", os.getpid(), started(os.getpid())), left_by(tmp_path / "c", os.getppid(), 0)]
    name = ours[0].name
    users = [
        tmp_path / name.lstrip("."), tmp_path / re.sub(r"-[0-9a-f]{16}", "-mine", name), tmp_path / ".a.partial",
        tmp_path / re.sub(r"worldgen-[0-9a-f]{8}", "worldgen-00000000", name), tmp_path / ".a.tmp",
    ]  # fmt: skip
    (tmp_path / "sub").mkdir()
    ours[2].mkdir()
    (ours[2] / "inner").write_text("x")
    for path in [*ours[:2], *running, *users]:
        path.write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("x")
    link = left_by(tmp_path / "link", pid)
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "outside").symlink_to(tmp_path / "elsewhere")
    assert set(abandoned(tmp_path)) == {ours[0], ours[2]} and list(abandoned(tmp_path, tmp_path / "f")) == [ours[2]]
    sweep(tmp_path)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in [*running, *users, link, tmp_path / "elsewhere" / "x"])


def test_a_number_that_another_process_has_now_is_of_a_dead_one() -> None:
    own = started(os.getpid())
    assert alive(os.getpid(), own) and alive(os.getpid(), 0) and alive(1, 0)
    assert not alive(dead(), 5)
    if own:
        assert not alive(os.getpid(), own - 1)


def test_what_is_a_temporary_name(tmp_path: Path) -> None:
    assert is_temporary(temporary_name(tmp_path / "a.b.png").name) and is_temporary(temporary_name(tmp_path / "a").name)
    assert not any(map(is_temporary, ("a", ".a", ".a.worldgen-lock", ".a.worldgen-1-2-3-4", "a.worldgen-x")))
