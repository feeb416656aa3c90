"""A world is saved as far as it can be: what fails is left out and told, the frames are not lost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError, Note
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.images import read_depth_png
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from geometry.trajectory.paths import orbit
from worldgen.core import world as world_module
from worldgen.core.clip import Clip
from worldgen.core.world import HeldOut, World

FILES = {
    "contact_sheet.png", "depth", "frames", "given", "given_depth", "held_out", "held_out.png", "manifest.json",
    "mesh.glb", "points.ply", "timings.json", "transforms.json", "video.mp4",
}  # fmt: skip


def frames(count: int) -> Clip:
    """Random frames with depth."""
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, count), 50.0, (16, 16))
    return Clip(torch.rand(count, 3, 16, 16), 1 + torch.rand(count, 1, 16, 16), cameras)


def world(mesh: bool = True, points: bool = True) -> World:
    """A small world."""
    corners = torch.eye(3)
    surface = Mesh(corners, torch.tensor([[0, 1, 2]]), corners) if mesh else Mesh(corners[:0], torch.zeros(0, 3).long())
    cloud = PointCloud(corners, corners) if points else PointCloud(corners[:0], corners[:0])
    held_out = HeldOut(frames(2), frames(2), ("a", "b"))
    return World(frames(3), frames(1), cloud, surface, {"metric": True}, held_out)


def written(folder: Path) -> set[str]:
    """The names in a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.filterwarnings("error")
def test_a_world_that_is_whole_has_every_file_and_no_failures(tmp_path: Path) -> None:
    world().save(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written(tmp_path / "out") == FILES and "failed" not in manifest and manifest["holds"] == "world"
    assert "frames/0002.png" in manifest["files"] and "timings.json" in manifest["files"]


@pytest.mark.filterwarnings("error")
def test_an_empty_mesh_and_no_points_are_left_out(tmp_path: Path) -> None:
    World(**{**vars(world(False, False)), "failed": {"mesh.glb": "no surface"}}).save(tmp_path / "out")
    assert written(tmp_path / "out") == FILES - {"mesh.glb", "points.ply"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"] == {"mesh.glb": "no surface"}


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), InputError("no encoder"), AttributeError("x")]
)
@pytest.mark.parametrize(
    ("writer", "names"),
    [
        ("write_mp4", ["video.mp4"]),
        ("write_ply", ["points.ply"]),
        ("write_glb", ["mesh.glb"]),
        ("grid", ["contact_sheet.png"]),
    ],
)
def test_a_file_that_cannot_be_written_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, names: list[str], error: Exception
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(world_module, writer, failing)
    names = [*names, "held_out.png"] if writer == "grid" else names
    with pytest.warns(Note) as told:
        world().save(tmp_path / "out")
    assert written(tmp_path / "out") == FILES - set(names)
    failed = json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"]
    assert failed.keys() == set(names) and all(str(error) in why for why in failed.values())
    assert all(f"{name} is left out" in str(note.message) for name, note in zip(names, told))
    assert len(read_transforms(tmp_path / "out" / "transforms.json")) == 4


def test_frames_that_cannot_be_written_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world_module, "write_depth_png", full)
    with pytest.raises(InputError, match="No space left"):
        world().save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("far", ["clip", "given"])
def test_depth_has_one_unit_that_holds_the_farthest_of_all_frames(tmp_path: Path, far: str) -> None:
    whole = vars(world())
    clip: Clip = whole[far]
    distant = replace(clip, depth=100 * clip.depth)
    World(**{**whole, far: distant}).save(tmp_path / "out")
    unit = json.loads((tmp_path / "out" / "manifest.json").read_text())["depth_png_metres_per_unit"]
    assert unit == pytest.approx(float(distant.depth.max()) / 65534, rel=1e-6)
    for name, part in (("depth", whole["clip"]), ("given_depth", whole["given"])):
        wanted = distant if part is clip else part
        found = read_depth_png(tmp_path / "out" / name / "0000.png", unit)
        assert bool(((found - wanted.depth[0]).abs() <= 0.51 * unit).all()), name
