"""What files say of themselves is part of their bytes, and stays as it was when our own words change."""

import json
from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rigs import Rig, RigCamera
from geometry.io.assets.obj import write_obj
from geometry.io.assets.ply import write_ply
from geometry.io.assets.point_sequence import write_point_sequence
from geometry.io.captures.colmap_rigs import write_colmap_rig
from geometry.io.trajectories.pose_files import write_cameras_json
from tests.geometry.io.assets.test_gltf import cloud, house


def test_meshes_and_points_name_frame_units_and_colors(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", cloud())
    head = (tmp_path / "a.ply").read_bytes().split(b"\n")[2:4]
    assert head == [b"comment generator worldgen", b"comment right-handed, z up, metres; colours sRGB"]
    write_ply(tmp_path / "b.ply", cloud(), ("made so",), unit="unit of the given cameras")
    head = (tmp_path / "b.ply").read_bytes().split(b"\n")[3:5]
    assert head == [b"comment right-handed, z up, unit of the given cameras; colours sRGB", b"comment made so"]
    write_obj(tmp_path / "a.obj", house())
    assert (tmp_path / "a.obj").read_text().splitlines()[0] == "# worldgen: right-handed, y up, metres; colours sRGB"
    write_point_sequence(tmp_path / "clouds", [(0.0, cloud())])
    index = json.loads((tmp_path / "clouds" / "index.json").read_text())
    assert index["convention"] == "right-handed world, z up, metres; colours sRGB; times in seconds"


def test_cameras_name_their_conventions(tmp_path: Path) -> None:
    pose, K = torch.eye(4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    write_cameras_json(tmp_path / "a.json", Cameras(pose[None], K[None], (4, 4)))
    convention = json.loads((tmp_path / "a.json").read_text())["convention"]
    assert convention.endswith("OpenCV axes, world z up; K in pixels with centres at +0.5")
    write_colmap_rig(tmp_path / "rig", Rig((RigCamera("front", pose, K, (4, 4)),)), pose[None], binary=False)
    assert (
        (tmp_path / "rig" / "frames.txt")
        .read_text()
        .startswith(
            "# id, rig, quaternion wxyz and translation of rig_from_world, pictures, then sensor and image of each\n"
        )
    )
