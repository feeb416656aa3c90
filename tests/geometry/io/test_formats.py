"""The table of formats: its rows are sound, paths find their format, one added from outside is known at once."""

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rigs import Rig, RigCamera
from geometry.errors import InputError, Note
from geometry.gaussians.splats import Splats
from geometry.io.assets.point_sequence import PointSequence
from geometry.io.captures.colmap import read_colmap_images
from geometry.io.captures.colmap_rigs import ColmapRig
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.formats import (
    FORMATS,
    Format,
    Kind,
    captures_of,
    convert_cameras,
    listed,
    read,
    read_cameras,
    write,
    write_cameras,
)
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from tests.geometry.gaussians.test_splats import some_splats
from tests.geometry.io.assets.test_gltf import card, cloud, color_bars, house
from tests.geometry.io.captures.made import write_colmap, write_dgp, write_nuscenes, write_realestate10k
from tests.geometry.io.captures.test_posed import clip, colmap, ddad_frames, drive_frame, transforms


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
    narrow, wide = read_cameras(tmp_path / "a.tum", 20.0, (20, 40)), read_cameras(tmp_path / "a.tum", 90.0, (480, 640))
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
    write_cameras(tmp_path / "a.tum", cameras())
    write_cameras(tmp_path / "a.kitti", cameras())
    for name in ("a.tum", "a.kitti"):
        with refused(name, "without the images' size", "hw="):
            read_cameras(tmp_path / name)
    with refused("cameras of an unknown kind"):
        read_cameras(tmp_path / "no_such_folder")
    with refused("neither", "hw"):
        write_realestate10k(tmp_path / "clip.re10k")
        read(tmp_path / "clip.re10k", "posed images")


def test_enumerations_name_every_format_once() -> None:
    assert listed("cameras").startswith("transforms.json, a COLMAP model's folder, a nuScenes frame (.json), ")
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
    assert len(read_cameras(made["clips"] / "a.txt", hw=(20, 24))) == 3, "but cameras"
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


@pytest.mark.parametrize("source", ["transforms.json", "colmap", "nuscenes", "ddad", "re10k"])
@pytest.mark.parametrize("target", ["transforms.json", "model", "a.json", "a.re10k", "a.tum", "a.kitti"])
def test_every_format_becomes_every_other_and_images_keep_their_names(tmp_path: Path, source: str, target: str) -> None:
    """Captures are read by the command and by pipelines through the same table; names go where there is a place."""
    read_of = {"transforms.json": transforms, "colmap": lambda f: colmap(f, True), "nuscenes": drive_frame,
               "ddad": ddad_frames, "re10k": clip}  # fmt: skip
    (tmp_path / "in").mkdir()
    whole = read_of[source](tmp_path / "in")()
    path = {"nuscenes": "sample.json", "ddad": "scene.json", "re10k": "clip.txt", "colmap": ""}.get(source, source)
    for image in (tmp_path / "in").rglob("*.png"):
        image.unlink()
    options = {"hw": whole.frames[0].hw} if source == "re10k" else {}
    if target == "a.re10k" and len({frame.time_s for frame in whole.frames}) < len(whole):
        pytest.skip("photos without times cannot be a clip")
    (tmp_path / "in/clip").rmdir() if source == "re10k" else None
    assert convert_cameras(tmp_path / "in" / path, tmp_path / target, **options) == len(whole)
    back = read(tmp_path / target, "cameras", need_images=False, hw=whole.frames[0].hw, fov_deg=50.0)
    poses = back.cameras.world_from_camera if isinstance(back, PosedImages) else back.world_from_camera
    assert torch.allclose(poses, whole.cameras.world_from_camera, atol=1e-9)
    if target in ("transforms.json", "model"):
        assert [frame.file_path for frame in back.frames] == [frame.file_path for frame in whole.frames]
        assert torch.allclose(back.cameras.K, whole.cameras.K)


def test_images_of_several_sizes_are_converted_as_they_are(tmp_path: Path, refused) -> None:
    small, large = cameras(), cameras().resized((40, 48))
    frames = [
        PosedImage(f"{n}.png", None, one.world_from_camera[0], one.K[0], one.hw) for n, one in enumerate((small, large))
    ]
    for name in ("transforms.json", "model"):
        write_cameras(tmp_path / name, PosedImages(tuple(frames)))
        back = read(tmp_path / name, "cameras", need_images=False)
        assert [frame.hw for frame in back.frames] == [(20, 24), (40, 48)]
        assert all(torch.equal(a.K, b.K) for a, b in zip(back.frames, frames))
    convert_cameras(tmp_path / "model", tmp_path / "a.kitti")
    with refused("(40, 48)", "one size"):
        convert_cameras(tmp_path / "model", tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("name", ["tum", "kitti"])
def test_lists_of_poses_are_known_by_their_columns(tmp_path: Path, refused, name: str) -> None:
    write_cameras(tmp_path / f"a.{name}", cameras())
    (tmp_path / f"a.{name}").rename(tmp_path / "poses.txt")
    with pytest.warns(Note, match="50 degrees"):
        back = read_cameras(tmp_path / "poses.txt", hw=(20, 24))
    assert torch.allclose(back.world_from_camera, cameras().world_from_camera)
    assert captures_of(tmp_path / "poses.txt") is None
    other, has = {"tum": ("kitti", "TUM"), "kitti": ("tum", "KITTI")}[name]
    (tmp_path / "poses.txt").rename(tmp_path / f"b.{other}")
    with refused(f"as {has} has"):
        read_cameras(tmp_path / f"b.{other}", hw=(20, 24))
    (tmp_path / "words.txt").write_text("some words\n1 2 3\n")
    with refused("cameras of an unknown kind"):
        read_cameras(tmp_path / "words.txt")


def test_a_colmap_capture_is_read_from_its_root_with_and_without_images(tmp_path: Path) -> None:
    colmap(tmp_path, True)
    assert len(read_cameras(tmp_path)) == 3
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    (tmp_path / "images").rmdir()
    assert len(read_cameras(tmp_path)) == 3


def test_captures_are_read_without_missing_images_on_request(tmp_path: Path) -> None:
    whole = transforms(tmp_path)()
    assert whole.frames[1].path is not None
    whole.frames[1].path.unlink()
    found = captures_of(tmp_path / "transforms.json")
    assert found is not None
    with pytest.warns(Note, match="1 of 3"):
        assert len(found[1][0][1](skip_missing=True)) == 2
    with pytest.raises(InputError, match="1 of 3"):
        found[1][0][1]()


def test_a_converted_capture_finds_its_images(tmp_path: Path) -> None:
    """COLMAP's names are relative to the folder of images, those of transforms.json to the file's."""
    whole = colmap(tmp_path, True)()
    convert_cameras(tmp_path, tmp_path / "transforms.json")
    back = read_transforms(tmp_path / "transforms.json")
    assert [frame.path for frame in back.frames] == [frame.path for frame in whole.frames]
    assert back.frames[0].file_path == "images/my image 0.png"
    (tmp_path / "sparse").rename(tmp_path / "before")
    convert_cameras(tmp_path / "transforms.json", tmp_path / "sparse")
    assert [frame.path for frame in read_colmap_images(tmp_path).frames] == [frame.path for frame in whole.frames]
    convert_cameras(tmp_path, tmp_path / "away/transforms.json")
    away = read_transforms(tmp_path / "away/transforms.json", need_images=False)
    assert away.frames[0].file_path == "images/my image 0.png"


ODD_NAMES = (
    "", ".", "..", "/", "loop", "loop/in", "dangling", "x" * 300, "a/" * 3000, "file/in", "empty", "\udcff", "pipe",
)  # fmt: skip


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_refuses_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    suffixes = {suffix for row in FORMATS.values() if kind in row.holds for suffix in ("", *row.suffixes)}
    for path in (Path(name + suffix) for name in ODD_NAMES for suffix in suffixes):
        with pytest.raises(InputError):
            read(path, kind)


def test_a_folder_with_a_transforms_json_is_that_file(tmp_path: Path) -> None:
    transforms(tmp_path)
    found = read(tmp_path, "cameras")
    assert [frame.file_path for frame in found.frames] == [f"images/{n}.png" for n in range(3)]
