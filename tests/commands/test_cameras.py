"""`worldgen cameras`, as a user runs it."""

import json
from pathlib import Path

import pytest
import torch

from geometry.camera.drawing import draw_cameras
from geometry.errors import InputError
from geometry.io.formats import read_cameras
from geometry.io.images import read_image
from geometry.trajectory.moves import orbit
from geometry.trajectory.shots import Shot
from worldgen.cli import main

SCRIPT = """\
camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m, fov: 50 deg}
fps: 4
size: 64x48
moves:
  - {orbit: {by: 180 deg, around: 0 0 0.5 m}, for: 5 s}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "shot.yaml"
    path.write_text(SCRIPT)
    return path


def test_a_path_is_said_in_words_and_drawn(script: Path, capsys) -> None:
    image = script.parent / "path.png"
    assert main(["cameras", "show", str(script), "--output", str(image)]) == 0
    out = capsys.readouterr().out
    assert (
        "21 cameras of 64x48 pixels" in out
        and out.count(": at (") == 11
        and "azimuth 90 degrees" in out
        and "suspicious" not in out
    )
    drawn = read_image(image)
    assert drawn.shape == (3, 480, 960)
    # The half circle of 3 m seen from above spans the image, blue at first and red at the end.
    red, green, blue = drawn[:, :, :480]
    inked = (green < 0.4) & (red + blue > 0.6)
    assert int((inked & (blue > red)).sum()) > 300 and int((inked & (red > blue)).sum()) > 300


def test_every_so_many_cameras_are_described_and_a_list_of_poses_is_of_the_size_that_is_given(
    script: Path, capsys
) -> None:
    poses = str(script.parent / "a.kitti")
    assert main(["cameras", "convert", str(script), poses]) == 0
    capsys.readouterr()
    assert main(["cameras", "show", poses, "--every", "7", "--size", "48", "64", "--fov-deg", "40"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("21 cameras of 64x48 pixels")
    assert [line.partition(": at (")[0] for line in lines if ": at (" in line] == ["0", "7", "14"]
    assert lines[0].endswith("sees 52 x 40 degrees"), "40 over the shorter side, the height"


def test_what_is_suspicious_is_said(script: Path, capsys) -> None:
    assert main(["cameras", "convert", str(script), str(script.parent / "a.json")]) == 0
    data = json.loads((script.parent / "a.json").read_text())
    for camera in data["cameras"]:
        pose = torch.tensor(camera["world_from_camera"], dtype=torch.float64)
        camera["world_from_camera"] = torch.linalg.inv(pose).tolist()
    (script.parent / "b.json").write_text(json.dumps(data))
    capsys.readouterr()
    assert main(["cameras", "show", str(script.parent / "b.json")]) == 0
    assert "suspicious: only the inverse poses look at a common point" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["transforms.json", "cameras.json", "path.tum", "path.kitti", "path.re10k", "colmap"])
def test_a_path_goes_through_every_format(script: Path, name: str) -> None:
    target, wanted = script.parent / name, read_cameras(script)
    options = ["--size", "48", "64"]
    assert main(["cameras", "convert", str(script), str(target)]) == 0
    assert main(["cameras", "convert", str(target), str(script.parent / "back.json"), *options]) == 0
    back = read_cameras(script.parent / "back.json")
    assert torch.allclose(back.world_from_camera.float(), wanted.world_from_camera, atol=1e-6)
    assert torch.allclose(back.K.float(), wanted.K, atol=1e-4) and back.hw == (48, 64)
    if name not in ("path.kitti", "colmap"):
        assert torch.allclose(back.time_s.float(), wanted.time_s)


def test_names_that_say_no_format_are_refused(script: Path, capsys) -> None:
    assert main(["cameras", "convert", str(script), "out.obj"]) == 2
    assert main(["cameras", "show", "shot.obj"]) == 2
    assert main(["cameras", "show", str(script.parent / "none.tum")]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_one_camera_can_be_drawn_and_none_cannot() -> None:
    cameras = (
        Shot.looking((0.0, -3.0, 1.5), (0.0, 0.0, 0.5)).then(orbit(90.0, distance=3.0), 1.0).cameras(4.0, (48, 64))
    )
    one = draw_cameras(cameras[:1], torch.rand(50, 3))
    assert one.shape == (3, 480, 960) and int((one[1] < 0.4).sum()) > 100
    with pytest.raises(InputError, match="0 cameras"):
        draw_cameras(cameras[:0])
