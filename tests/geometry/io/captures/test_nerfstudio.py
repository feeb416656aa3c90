"""transforms.json in and out."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lens_models import distort
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.camera.rays import camera_directions, lens_mask
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.captures.posed import PosedImages
from geometry.io.images import write_png
from geometry.rotation.transforms import rigid, rotation_about
from geometry.similarity import Similarity
from geometry.trajectory.paths import nearest_point_to_axes, orbit
from tests.geometry.camera.test_cameras import some_cameras

IDENTITY = torch.eye(4).tolist()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of three images of 12x10 pixels."""
    for name in ("a", "b", "c"):
        write_png(tmp_path / f"images/{name}.png", torch.rand(3, 10, 12))
    return tmp_path


def described(folder: Path, frames: list[dict] | None = None, **meta) -> Path:
    """A transforms.json in the folder: one frame unless given, with whatever entries."""
    frame = {"file_path": "images/a.png", "transform_matrix": IDENTITY}
    path = folder / "transforms.json"
    path.write_text(json.dumps({"fl_x": 10.0, **meta, "frames": [frame] if frames is None else frames}))
    return path


def frame_with(matrix) -> list[dict]:
    return [{"file_path": "images/a.png", "transform_matrix": matrix}]


def same_cameras(a: Cameras, b: Cameras) -> bool:
    pairs = zip((a.world_from_camera, a.K, a.view, a.time_s), (b.world_from_camera, b.K, b.view, b.time_s))
    return a.hw == b.hw and all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shared_lens", [True, False])
def test_writing_and_reading_returns_the_same_numbers_exactly(folder, dtype, shared_lens) -> None:
    poses = orbit(torch.tensor([0.1, 0.2, 0.3], dtype=dtype), math.pi, 17.3, 3)
    fov = 50.0 if shared_lens else torch.tensor([40.0, 50.0, 60.0], dtype=dtype)
    cameras = Cameras.from_fov(poses, fov, (10, 12))
    cameras = Cameras(poses, cameras.K, (10, 12), torch.tensor([0, 2, 1]), torch.tensor([0, 0.1, 7], dtype=dtype))
    names = [f"images/{name}.png" for name in "abc"]
    write_transforms(folder / "t.json", cameras, names, names, {"ply_file_path": "points.ply"})
    (folder / "points.ply").touch()
    back = read_transforms(folder / "t.json")
    assert back.points_path == (folder / "points.ply").resolve()
    assert same_cameras(back.cameras.to(dtype), cameras)
    assert [frame.file_path for frame in back.frames] == names
    assert [frame.depth_path for frame in back.frames] == [(folder / name).resolve() for name in names]
    meta = json.loads((folder / "t.json").read_text())
    assert meta["camera_model"] == "PINHOLE" and meta["ply_file_path"] == "points.ply"
    assert meta["depth_sky"] == 65535 and (meta["w"], meta["h"]) == (12, 10)
    assert ("fl_x" in meta) == shared_lens


def test_a_written_camera_looks_along_minus_z_of_its_matrix(folder) -> None:
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 30.0, 3), 50.0, (10, 12))
    write_transforms(folder / "t.json", cameras, ["a", "b", "c"])
    matrix = torch.tensor(json.loads((folder / "t.json").read_text())["frames"][1]["transform_matrix"])
    assert torch.allclose(matrix[:3, 3] - 2.0 * matrix[:3, 2], torch.zeros(3), atol=1e-6)  # the pivot is ahead
    assert matrix[2, 1] > 0.8  # y is up


def test_fox_is_read_and_survives_being_written_exactly(shared, tmp_path) -> None:
    fox = read_transforms(shared / "data/fox/transforms.json")
    assert len(fox) == 25 and fox.cameras.hw == (480, 270)
    assert fox.frames[0].path == (shared / "data/fox/images/0001.jpg").resolve()
    assert fox.frames[0].read().shape == (3, 480, 270)
    lens = fox.frames[0].lens
    assert lens is not None and lens.coefficients.tolist() == [
        0.0578421,
        -0.0805099,
        -0.000980296,
        0.00015575,
        *[0] * 4,
    ]
    assert fox.frames[0].K.tolist() == [[343.88, 0, 138.6395], [0, 343.6225, 241.317], [0, 0, 1]]
    write_transforms(tmp_path / "t.json", fox.cameras, [frame.file_path for frame in fox.frames])
    assert same_cameras(read_transforms(tmp_path / "t.json", need_images=False).cameras, fox.cameras)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lenses_come_back_exactly_also_mixed_with_pinholes(tmp_path, dtype) -> None:
    pose = torch.eye(4, dtype=dtype)[None]
    lenses = [
        None,
        Lens.of(LensKind.OPENCV, torch.tensor([[-0.1, 0.02, 0.001, -0.002, 0.003]], dtype=dtype)),
        Lens.of(LensKind.FISHEYE, torch.tensor([[0.03, -0.002, 0.001, -0.0001]], dtype=dtype)),
        Lens.of(LensKind.EQUIRECTANGULAR, torch.zeros(1, 0, dtype=dtype)),
    ]
    each = [Cameras.from_fov(pose, 90.0, (10, 20), lens) for lens in lenses]
    for cameras, names in ((Cameras.cat(each), ["a", "b", "c", "d"]), *((one, ["a"]) for one in each)):
        write_transforms(tmp_path / "t.json", cameras, names)
        found = read_transforms(tmp_path / "t.json", need_images=False).cameras.to(dtype)
        assert (found.lens is None) == (cameras.lens is None) and torch.allclose(found.K, cameras.K)
        if found.lens is not None and cameras.lens is not None:
            assert torch.equal(found.lens.kind, cameras.lens.kind)
            assert torch.equal(found.lens.coefficients, cameras.lens.coefficients)


def test_a_panorama_of_nerfstudio_is_once_round_whether_it_states_its_focal_lengths_or_not(folder) -> None:
    for fl_x, fl_y in ((6, 10), (None, None)):  # w / 2 and h
        path = described(folder, camera_model="EQUIRECTANGULAR", fl_x=fl_x, fl_y=fl_y)
        camera = read_transforms(path).frames[0].camera
        assert bool(lens_mask(camera).all())
        directions = camera_directions(
            camera, torch.tensor([[[0.0, 5.0], [6.0, 5.0], [9.0, 5.0], [6.0, 0.0]]]).double()
        )
        expected = torch.tensor([[0.0, 0, -1], [0, 0, 1], [1, 0, 0], [0, -1, 0]])
        assert torch.allclose(directions[0].float(), expected, atol=1e-6)


def test_a_lens_the_format_has_not_is_not_written(tmp_path, refused) -> None:
    for kind, values in ((LensKind.F_THETA, [0.1]), (LensKind.OPENCV, [0.1, 0, 0, 0, 0, 0.2])):
        cameras = Cameras.from_fov(torch.eye(4)[None], 50.0, (8, 8), Lens.of(kind, torch.tensor([values])))
        with refused(kind.name, "format"):
            write_transforms(tmp_path / "t.json", cameras, ["a"])


def test_foxs_cameras_look_at_one_place_in_front_of_all_of_them(shared) -> None:
    cameras = read_transforms(shared / "data/fox/transforms.json").cameras
    _, depth = project(cameras, nearest_point_to_axes(cameras.world_from_camera).expand(25, 1, 3))
    assert bool((depth > 0).all())


def test_foxs_lens_moves_the_corner_of_its_image_by_pixels_not_by_images(shared) -> None:
    frame = read_transforms(shared / "data/fox/transforms.json").frames[0]
    corner = torch.linalg.inv(frame.K) @ torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)
    assert frame.lens is not None
    moved = distort(corner[None, :2], frame.lens.coefficients)[0]
    assert 0.5 < float((moved - corner[:2]).norm() * frame.K[0, 0]) < 20


def test_blender_style_names_without_suffix_and_a_field_of_view_are_understood(shared) -> None:
    lego = read_transforms(shared / "data/nerf_lego/transforms_train.json")
    assert len(lego) == 16 and lego.cameras.hw == (400, 400)
    assert lego.frames[0].path == (shared / "data/nerf_lego/train/r_0.png").resolve()
    focal = 200 / math.tan(0.6911112070083618 / 2)
    assert torch.allclose(lego.cameras.K[3], torch.tensor([[focal, 0, 200], [0, focal, 200], [0, 0, 1]]).double())
    pivot = nearest_point_to_axes(lego.cameras.world_from_camera)
    assert pivot.norm() < 0.1  # the scene is centered at the origin, z up: all cameras are above it
    assert bool((lego.cameras.centers[:, 2] > 0).all())


def test_focal_lengths_come_from_the_frame_first_and_from_either_axis(folder) -> None:
    names = [{"file_path": f"images/{name}.png", "transform_matrix": IDENTITY} for name in "abc"]
    frames = [names[0], names[1] | {"fl_x": 7, "cx": 5}, names[2] | {"camera_angle_x": math.pi / 2}]
    K = read_transforms(described(folder, frames, fl_x=10, fl_y=11, cy=4.5)).cameras.K
    assert K[0].tolist() == [[10, 0, 6], [0, 11, 4.5], [0, 0, 1]]
    assert K[1].tolist() == [[7, 0, 5], [0, 7, 4.5], [0, 0, 1]]
    assert torch.allclose(K[2], torch.tensor([[6, 0, 6], [0, 6, 4.5], [0, 0, 1]]).double())
    angles = read_transforms(described(folder, fl_x=None, camera_angle_y=math.pi / 2)).cameras.K[0]
    assert torch.allclose(angles[[0, 1], [0, 1]], torch.tensor([5.0, 5.0]).double())


def test_the_importers_transform_and_scale_are_undone(folder) -> None:
    user = rigid(rotation_about(torch.randn(3), torch.tensor(1.0)), torch.randn(3)).double()
    applied = torch.tensor([[1.0, 0, 0, 3], [0, 0, 1, -2], [0, -1, 0, 5], [0, 0, 0, 1]]).double()
    stored = applied @ user
    stored[:3, 3] *= 0.25
    matrix = (stored * torch.tensor([1, -1, -1, 1])).tolist()
    path = described(folder, frame_with(matrix), applied_transform=applied[:3].tolist(), applied_scale=0.25)
    images = read_transforms(path)
    assert torch.allclose(images.cameras.world_from_camera[0], user, atol=1e-6)
    stored = images.stored_from_user
    assert float(stored.scale) == 0.25 and torch.equal(stored.rotation, applied[:3, :3])
    assert torch.allclose(stored.points(torch.zeros(1, 3).double())[0], 0.25 * applied[:3, 3])


def test_a_world_to_store_in_is_kept_and_undone(tmp_path) -> None:
    cameras = some_cameras((3,), (10, 12), 1)
    K = cameras.K.clone()
    K[:, 0, 1] = 0
    cameras = replace(cameras, K=K)
    turn = rotation_about(torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor(0.7).double())
    stored = Similarity(torch.tensor(0.03).double(), turn, torch.tensor([1.0, -2.0, 3.0]).double())
    write_transforms(tmp_path / "a.json", cameras, ["a.png", "b.png", "c.png"], stored_from_user=stored)
    found = read_transforms(tmp_path / "a.json", need_images=False)
    assert torch.allclose(found.cameras.world_from_camera, cameras.world_from_camera, atol=1e-12)
    pose = torch.tensor(json.loads((tmp_path / "a.json").read_text())["frames"][0]["transform_matrix"])
    assert torch.allclose(pose[:3, 3].double(), stored.points(cameras.centers)[0], atol=1e-6)
    assert torch.allclose(found.stored_from_user.translation, stored.translation)


def test_3x4_matrices_and_rounded_rotations_are_mended(folder) -> None:
    rotation = rotation_about(torch.ones(3), torch.tensor(0.7)).double()
    pose = rigid(rotation, torch.tensor([1.0, 2.0, 3.0]).double())
    rounded = [[round(value, 3) for value in row] for row in pose[:3].tolist()]
    result = read_transforms(described(folder, frame_with(rounded))).cameras.world_from_camera[0]
    assert torch.allclose(result[:3, :3] @ result[:3, :3].T, torch.eye(3).double(), atol=1e-14)
    assert (result[:3, :3] - rotation * torch.tensor([1, -1, -1])).abs().max() < 1e-3


def test_missing_images_matter_only_when_wanted(folder, refused) -> None:
    frames = [*frame_with(IDENTITY), {"file_path": "images/z.png", "transform_matrix": IDENTITY}]
    with refused("images/z.png", "no such image", "1 of 2"):
        read_transforms(described(folder, frames))
    with refused("frame 1", "w and h"):
        read_transforms(described(folder, frames), need_images=False)
    images = read_transforms(described(folder, frames, w=12, h=10), need_images=False)
    assert [frame.path is None for frame in images.frames] == [False, True]
    assert images.cameras.hw == (10, 12)
    with refused("images/z.png", "no such image"):
        images.frames[1].read()


def test_an_image_of_another_size_than_stated_is_refused(folder, refused) -> None:
    for w, h in ((24, 10), (10, 12), (24, 25), (12, 11)):
        with refused("a.png", "12x10", f"{w}x{h}"):
            read_transforms(described(folder, w=w, h=h))
    loose: PosedImages = read_transforms(described(folder, w=24, h=10), need_images=False)
    with refused("a.png", "12x10", "24x10"):
        loose.frames[0].read()


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/hostname", "images/../../outside", r"..\outside.png", r"C:\outside.png"]
)
def test_paths_out_of_the_folder_are_refused(folder, refused, name) -> None:
    (folder / "inside").mkdir()
    write_png(folder / "outside.png", torch.rand(3, 10, 12))
    (folder / "inside/images").mkdir()
    path = described(folder / "inside", [{"file_path": name, "transform_matrix": IDENTITY}], w=12, h=10)
    for need_images in (True, False):
        with refused(path, "frame 0", "out of the file's folder"):
            read_transforms(path, need_images)
    depth = [frame_with(IDENTITY)[0] | {"depth_file_path": name}]
    with refused("out of the file's folder"):
        read_transforms(described(folder / "inside", depth, w=12, h=10), need_images=False)


MATRIX_CASES = {
    "absent": (None, "4x4 or 3x4"),
    "a number": (3, "4x4 or 3x4"),
    "two rows": (IDENTITY[:2], "4x4 or 3x4"),
    "short rows": ([row[:3] for row in IDENTITY], "4 each"),
    "text": ([["1", 0, 0, 0], *IDENTITY[1:]], "finite number"),
    "truth": ([[True, 0, 0, 0], *IDENTITY[1:]], "finite number"),
    "nan": ([[math.nan, 0, 0, 0], *IDENTITY[1:]], "finite number"),
    "infinite": ([[1, 0, 0, math.inf], *IDENTITY[1:]], "finite number"),
    "beyond floats": ([[1, 0, 0, 10**400], *IDENTITY[1:]], "finite number"),
    "singular": ([[0] * 4, *IDENTITY[1:]], "rigid"),
    "scaled": ([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], IDENTITY[3]], "rigid"),
    "sheared": ([[1, 0.2, 0, 0], *IDENTITY[1:]], "rigid"),
    "mirrored": ([[-1, 0, 0, 0], *IDENTITY[1:]], "determinant -1"),
    "projective": ([*IDENTITY[:3], [0, 0, 1, 1]], "last row"),
}


@pytest.mark.parametrize("case", MATRIX_CASES)
def test_matrices_that_are_no_rigid_motion_are_refused(folder, refused, case) -> None:
    matrix, word = MATRIX_CASES[case]
    path = described(folder, frame_with(copy.deepcopy(matrix)))
    with refused(path, "frame 0", "images/a.png", "transform_matrix", word):
        read_transforms(path)


@pytest.mark.parametrize(
    ("meta", "word"),
    [
        ({"fl_x": 0}, "focal length 0"),
        ({"fl_x": -5.0}, "focal length -5"),
        ({"fl_x": "10"}, "finite number"),
        ({"fl_x": None}, "no focal length"),
        ({"fl_x": None, "camera_angle_x": 4.0}, "radians"),
        ({"fl_y": math.nan}, "fl_y"),
        ({"cx": [1]}, "cx"),
        ({"k1": {}}, "k1"),
        ({"k4": 0.1}, "k4"),
        ({"w": 12.5, "h": 10}, "whole numbers"),
        ({"w": -12, "h": 10}, "whole numbers"),
        ({"camera_model": "FISHEYE624"}, "FISHEYE624"),
        ({"camera_model": "OPENCV_FISHEYE", "k4": math.inf}, "k4"),
        ({"applied_scale": 0}, "applied_scale"),
        ({"applied_transform": [[0.0] * 4] * 3}, "applied_transform"),
    ],
)
def test_impossible_entries_are_refused(folder, refused, meta, word) -> None:
    path = described(folder, **meta)
    with refused(path, word):
        read_transforms(path)


@pytest.mark.parametrize(
    ("frames", "word"),
    [
        ([], "no frames"),
        ([3], "JSON object"),
        ([{"transform_matrix": IDENTITY}], "file_path"),
        ([{"file_path": 7, "transform_matrix": IDENTITY}], "file_path 7"),
        ([{"file_path": "a\0b", "transform_matrix": IDENTITY}], "not a usable file name"),
        ([{"file_path": "a" * 5000, "transform_matrix": IDENTITY}], "not a usable file name"),
        (frame_with(IDENTITY) * 2, "frame 0 already"),
        ([*frame_with(IDENTITY), {"file_path": "./images/a", "transform_matrix": IDENTITY}], "frame 0 already"),
        ([frame_with(IDENTITY)[0] | {"depth_file_path": 3}], "depth_file_path"),
    ],
)
def test_impossible_frames_are_refused(folder, refused, frames, word) -> None:
    path = described(folder, frames)
    with refused(path, word):
        read_transforms(path)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no frames"),
        (b'{"frames": 3}', "no frames"),
        (b'{"frames": {}}', "no frames"),
    ],
)
def test_files_that_are_no_transforms_are_refused(tmp_path, refused, data, word) -> None:
    (tmp_path / "t.json").write_bytes(data)
    with refused(tmp_path / "t.json", word):
        read_transforms(tmp_path / "t.json")
    with refused("absent.json", "no such file"):
        read_transforms(tmp_path / "absent.json")


def test_files_above_50_megabytes_are_refused_unread(tmp_path, refused) -> None:
    with (tmp_path / "t.json").open("wb") as file:
        file.truncate(50_000_001)
    with refused("50000001 bytes"):
        read_transforms(tmp_path / "t.json")


def test_images_of_different_sizes_have_no_common_cameras(folder, refused) -> None:
    write_png(folder / "images/d.png", torch.rand(3, 8, 8))
    frames = [*frame_with(IDENTITY), {"file_path": "images/d.png", "transform_matrix": IDENTITY}]
    images = read_transforms(described(folder, frames))
    assert [frame.hw for frame in images.frames] == [(10, 12), (8, 8)]
    with refused("(8, 8)"):
        _ = images.cameras


def test_what_the_format_cannot_hold_is_not_written(tmp_path, refused) -> None:
    path = tmp_path / "t.json"
    cameras = Cameras.from_fov(torch.eye(4).repeat(2, 1, 1), 50.0, (8, 8))
    skewed, broken = cameras.K.clone(), cameras.world_from_camera.clone()
    skewed[1, 0, 1], broken[0, 0, 3] = 0.1, math.nan
    with refused("skew"):
        write_transforms(path, Cameras(cameras.world_from_camera, skewed, (8, 8)), ["a", "b"])
    with refused("NaN"):
        write_transforms(path, Cameras(broken, cameras.K, (8, 8)), ["a", "b"])
    for names in (["a"], ["a", "a"], ["a", "b", "c"]):
        with refused("one different path"):
            write_transforms(path, cameras, names)
    for name in ("../b", "/b"):
        with refused(name, "below the folder"):
            write_transforms(path, cameras, ["a", name])
    with refused("fl_x"):
        write_transforms(path, cameras, ["a", "b"], extra={"fl_x": 3})
    assert not path.exists()
