"""The table of formats: its rows are sound, paths find their format, one added from outside is known at once."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rigs import Rig, RigCamera
from geometry.gaussians.splats import Splats
from geometry.io.assets.point_sequence import PointSequence
from geometry.io.captures.colmap_rigs import ColmapRig
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.formats import FORMATS, Format, Kind, captures_of, listed, read, read_cameras, write, write_cameras
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.gaussians.test_splats import some_splats
from tests.geometry.io.assets.test_gltf import card, cloud, color_bars, house
from tests.geometry.io.captures.made import write_colmap, write_dgp, write_nuscenes, write_realestate10k


def cameras() -> Cameras:
    """Three cameras in a row, a second apart."""
    poses = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    poses[:, 0, 3] = torch.arange(3)
    K = torch.tensor([[21.0, 0, 12], [0, 22.0, 10], [0, 0, 1]], dtype=torch.float64)
    return Cameras(poses, K.expand(3, 3, 3), (20, 24), time_s=torch.arange(3).double())


VALUES: dict[Kind, Any] = {
    "image": torch.rand(3, 16, 16), "depth": torch.rand(1, 16, 16) + 1, "video": torch.rand(4, 3, 16, 16),
    "rig": ColmapRig(
        Rig((RigCamera("front", torch.eye(4), torch.tensor([[9.0, 0, 4], [0, 9, 4], [0, 0, 1]]), (8, 8)),)),
        torch.eye(4).double()[None], (("front/0.png",),),
    ),
    "points": cloud(), "mesh": house(), "textured mesh": card(color_bars()), "gaussians": some_splats(4, 1),
    "point sequence": [(0.0, cloud()), (1.0, cloud())],
}  # fmt: skip
TYPES: dict[Kind, Any] = {
    "image": torch.Tensor, "depth": torch.Tensor, "video": torch.Tensor, "rig": tuple, "points": PointCloud,
    "mesh": Mesh, "textured mesh": TexturedMesh, "gaussians": Splats, "point sequence": PointSequence,
}  # fmt: skip
MODULES = {"exr": "OpenEXR", "usd": "pxr"}
BOTH_WAYS = [
    (name, kind)
    for name, row in FORMATS.items()
    for kind in row.holds
    if kind in VALUES and (row.writer or row.suffixes)
]


def test_every_row_says_what_it_is(root: Path) -> None:
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, row in FORMATS.items():
        assert name == row.name and row.help and "\n" not in row.help
        assert row.holds and set(row.holds) <= set(get_args(Kind)), name
        assert row.reader or row.writer or row.captures, name
        assert row.suffixes or row.recognizes, name
        assert row.extra is None or row.extra in extras, name
    assert {kind for row in FORMATS.values() for kind in row.holds} == set(get_args(Kind))


def test_the_table_loads_no_library() -> None:
    code = """
import sys, geometry.io.formats
heavy = {"PIL", "av", "OpenEXR", "pxr", "numba", "scipy", "skimage", "trimesh", "kornia", "xatlas", "yaml", "einops"}
print(sorted(heavy & set(sys.modules) - {"einops"}))
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize(("name", "kind"), BOTH_WAYS)
def test_what_is_written_by_name_is_read_by_name(tmp_path: Path, name: str, kind: Kind) -> None:
    row = FORMATS[name]
    if row.extra is not None and importlib.util.find_spec(MODULES[row.extra]) is None:
        pytest.skip(f"needs the [{row.extra}] extra")
    for suffix in row.suffixes:
        path = tmp_path / f"value{suffix}"
        if row.writer is None:
            with pytest.raises(ValueError, match="unknown kind; expected"):
                write(path, VALUES[kind], kind)
            continue
        write(path, VALUES[kind], kind)
        assert path.exists()
        if row.reader is not None:
            assert isinstance(read(path, kind), TYPES[kind])


@pytest.mark.parametrize(
    "name", ["transforms.json", "transforms_train.json", "a.json", "a.tum", "a.kitti", "a.re10k", "a"]
)
def test_cameras_come_back_in_every_format(tmp_path: Path, name: str) -> None:
    write_cameras(tmp_path / name, cameras())
    back = read_cameras(tmp_path / name, 50.0, (20, 24))
    assert torch.allclose(back.world_from_camera, cameras().world_from_camera, atol=1e-12) and back.hw == (20, 24)


def test_the_caller_says_what_a_file_of_poses_does_not(tmp_path: Path) -> None:
    write_cameras(tmp_path / "a.tum", cameras())
    narrow, wide = read_cameras(tmp_path / "a.tum", 20.0, (20, 40)), read_cameras(tmp_path / "a.tum", 90.0)
    assert narrow.hw == (20, 40) and wide.hw == (480, 640)
    assert float(narrow.K[0, 0, 0]) == pytest.approx(10 / torch.tensor(10.0).deg2rad().tan().item(), rel=1e-6)
    assert float(wide.K[0, 0, 0]) == pytest.approx(240, rel=1e-6)


def test_paths_of_no_format_are_refused(tmp_path: Path, refused) -> None:
    with refused("shot.obj: cameras of an unknown kind", listed("cameras")):
        read_cameras(tmp_path / "shot.obj")
    with refused("shot.obj: cameras of an unknown kind", listed("cameras", written=True)):
        write_cameras(tmp_path / "shot.obj", cameras())
    with refused("a.txt: mesh of an unknown kind", ".ply, .glb or .obj"):
        read(tmp_path / "a.txt", "mesh")
    with refused("no images.bin or images.txt"):
        read_cameras(tmp_path)
    with refused("cameras of an unknown kind"):
        read_cameras(tmp_path / "no_such_folder")
    with refused("neither", "hw"):
        write_realestate10k(tmp_path / "clip.re10k")
        read(tmp_path / "clip.re10k", "posed images")


def test_enumerations_name_every_format_once() -> None:
    assert listed("cameras").startswith(
        "transforms.json, a COLMAP model's folder, a camera script (.yaml), .tum, .kitti"
    )
    assert "script" not in listed("cameras", written=True) and "our own .json" in listed("cameras", written=True)
    assert listed("video") == ".mp4" and listed("gaussians", written=True) == ".ply, .splat or USD"


def test_captures_are_told_apart_by_content(tmp_path: Path) -> None:
    made = {name: tmp_path / name for name in ("colmap", "nuscenes", "ddad", "clips", "nerf")}
    for folder in made.values():
        folder.mkdir()
    write_colmap(made["colmap"], binary=True)
    (made["colmap"] / "sparse").mkdir()
    for part in made["colmap"].glob("*.bin"):
        part.rename(made["colmap"] / "sparse" / part.name)
    write_nuscenes(made["nuscenes"])
    scene = write_dgp(made["ddad"])[0]
    write_realestate10k(made["clips"] / "a.txt")
    write_cameras(made["nerf"] / "transforms.json", cameras())
    renamed = (made["nerf"] / "transforms.json").rename(made["nerf"] / "poses.json")
    places = {"COLMAP": made["colmap"], "nuScenes": made["nuscenes"], "DDAD": scene, "transforms.json": renamed}
    for name, path in places.items():
        found = captures_of(path)
        assert found is not None and found[0] == name and len(found[1]) == 1
    assert len(found_images(made["colmap"])) == 3 and len(found_images(made["nuscenes"])) == 4
    assert captures_of(made["nuscenes"])[1][0][0] == "scene-0001"  # type: ignore[index]
    assert captures_of(made["clips"] / "a.txt") is None, "a text without a video"
    (made["clips"] / "a").mkdir()
    assert captures_of(made["clips"] / "a.txt")[0] == "RealEstate10K"  # type: ignore[index]
    for nothing in (made["ddad"], made["clips"], tmp_path, tmp_path / "none", made["ddad"] / "calibration/abc.json"):
        assert captures_of(nothing) is None
    # The keys of the file read last are remembered, but not beyond a change of the file.
    renamed.write_text(json.dumps({"cameras": {}, "lidar": {}}))
    assert captures_of(renamed)[0] == "nuScenes frame"  # type: ignore[index]
    renamed.write_text("no JSON")
    assert captures_of(renamed) is None


def found_images(path: Path) -> PosedImages:
    found = captures_of(path)
    assert found is not None
    return found[1][0][1]()


def test_a_format_added_from_outside_is_known_everywhere(tmp_path: Path, monkeypatch) -> None:
    def read_xyz(path: Path, fov_deg: float = 50.0, hw: tuple[int, int] = (480, 640)) -> PosedImages:
        rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines()]
        poses = torch.eye(4, dtype=torch.float64).repeat(len(rows), 1, 1)
        poses[:, :3, 3] = torch.tensor(rows, dtype=torch.float64)
        K = Cameras.from_fov(poses, fov_deg, hw).K
        return PosedImages(tuple(PosedImage(str(n), None, pose, K[n], hw) for n, pose in enumerate(poses)))

    def write_xyz(path: Path, value: Cameras) -> None:
        path.write_text("".join("{} {} {}\n".format(*center) for center in value.centers.tolist()))

    toy = Format(
        "xyz", ("cameras", "posed images"), "centers (.xyz)", (".xyz",),
        reader=read_xyz, options=("fov_deg", "hw"), writer=write_xyz,
    )  # fmt: skip
    assert captures_of(tmp_path / "a.xyz") is None
    monkeypatch.setitem(FORMATS, "xyz", toy)
    write_cameras(tmp_path / "a.xyz", cameras())
    back = read_cameras(tmp_path / "a.xyz", 40.0, (30, 40))
    assert torch.equal(back.centers, cameras().centers) and back.hw == (30, 40)
    assert captures_of(tmp_path / "a.xyz")[0] == "xyz" and len(found_images(tmp_path / "a.xyz")) == 3  # type: ignore[index]
    assert listed("cameras").endswith("our own .json or centers (.xyz)")
    assert listed("cameras", written=True).endswith(" or centers (.xyz)")
