"""Captures in the formats of others: the same cameras, points and images come out, whoever wrote them."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project
from geometry.camera.rays import ray_map
from geometry.errors import Note
from geometry.image.framing import square, square_camera, undistort_and_fill
from geometry.io.captures import realestate10k
from geometry.io.captures.colmap import is_colmap_capture, read_colmap, read_colmap_images
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.nuscenes import nuscenes_scenes, read_nuscenes, read_nuscenes_frame
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.captures.realestate10k import read_realestate10k
from geometry.io.images import write_png
from geometry.io.video import read_mp4, read_mp4_at, video_times, write_mp4
from geometry.rotation.transforms import invert_rigid, transform_points
from tests.geometry.io.captures.made import HW, write_colmap, write_dgp, write_nuscenes, write_realestate10k


def assert_same(found: PosedImages, expected: Cameras) -> None:
    cameras = found.cameras
    assert cameras.hw == expected.hw
    assert (cameras.world_from_camera - expected.world_from_camera).abs().max() < 1e-8
    assert (cameras.K - expected.K).abs().max() < 1e-6
    assert all(frame.read().shape == (3, *HW) for frame in found.frames if frame.path is not None)


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_models_in_text_and_binary_hold_the_same(tmp_path, binary) -> None:
    cameras, points = write_colmap(tmp_path, binary)
    model = read_colmap(tmp_path, tmp_path / "images")
    expected = Cameras(cameras.world_from_camera, cameras.K.clone(), HW)
    expected.K[:, 1, 1] = 21.0  # RADIAL has one focal length
    assert_same(model.images, expected)
    lens = model.images.frames[0].lens
    assert lens is not None and lens.coefficients.tolist() == [0.1, -0.02, 0, 0, 0, 0, 0, 0]
    assert torch.allclose(model.points, points) and model.colors[4].tolist() == [10, 20, 34]
    assert model.observed[0].tolist() == [0, 1, 2, 3, 4, -1] and model.observed_uv[0][5].tolist() == [9, 9]
    assert [len(uv) for uv in model.observed_uv] == [6, 0, 0]


def test_a_real_colmap_model_projects_its_points_to_its_features(shared: Path) -> None:
    folder = shared / "data/colmap_ethiopian_head"
    model = read_colmap(folder / "sparse", folder / "images")
    assert len(model.images) == 30 and len(model.points) == 4528
    errors = []
    for frame, uv, index in zip(model.images.frames, model.observed_uv, model.observed):
        errors.append((project(frame.camera, model.points[index])[0] - uv).norm(dim=-1))
    assert sum(map(len, errors)) == 20792
    assert float(torch.cat(errors).mean()) == pytest.approx(0.16, abs=0.02), "as its SOURCE.md says"


@pytest.mark.parametrize(
    ("model", "values", "kind", "coefficients"),
    [
        ("OPENCV_FISHEYE", [21, 22, 11.5, 9.25, 0.1, 0.2, 0.3, 0.4], LensKind.FISHEYE, [0.1, 0.2, 0.3, 0.4]),
        ("RADIAL_FISHEYE", [21, 11.5, 9.25, 0.1, 0.2], LensKind.FISHEYE, [0.1, 0.2]),
        ("SIMPLE_RADIAL_FISHEYE", [21, 11.5, 9.25, 0.0], LensKind.FISHEYE, []),
        ("FULL_OPENCV", [21, 22, 11.5, 9.25, *range(1, 9)], LensKind.OPENCV, [*range(1, 9)]),
        ("SIMPLE_FISHEYE", [21, 11.5, 9.25], LensKind.FISHEYE, []),
        ("FISHEYE", [21, 22, 11.5, 9.25], LensKind.FISHEYE, []),
    ],
)
def test_colmaps_lenses_are_ours(tmp_path, model, values, kind, coefficients) -> None:
    write_colmap(tmp_path, binary=False)
    row = f"7 {model} {HW[1]} {HW[0]} {' '.join(map(str, values))}\n"
    (tmp_path / "cameras.txt").write_text(row)
    frame = read_colmap(tmp_path, tmp_path / "images").images.frames[0]
    assert frame.lens is not None and int(frame.lens.kind) == kind and float(frame.K[0, 2]) == 11.5
    assert frame.lens.coefficients.tolist() == coefficients + [0.0] * (8 - len(coefficients))


@pytest.mark.parametrize(
    ("number", "model", "count"),
    [(7, "FOV", 5), (10, "THIN_PRISM_FISHEYE", 12), (11, "RAD_TAN_THIN_PRISM_FISHEYE", 16), (12, "SIMPLE_DIVISION", 4),
     (13, "DIVISION", 5), (14, "SIMPLE_FISHEYE", 3), (15, "FISHEYE", 4), (16, "EUCM", 6), (17, "EQUIRECTANGULAR", 2)],
)  # fmt: skip
def test_colmaps_models_are_read_or_named(tmp_path, refused, number, model, count) -> None:
    write_colmap(tmp_path, binary=True)
    (tmp_path / "points3D.bin").write_bytes(struct.pack("<Q", 0))
    lens = struct.pack(
        f"<QiiQQ{count}d", 1, 7, number, HW[1], HW[0], *[40.0, 20.0, 30.0, 10.0][:count], *[0.1] * (count - 4)
    )
    (tmp_path / "cameras.bin").write_bytes(lens)
    if number in (14, 15, 17):
        frame = read_colmap(tmp_path, tmp_path / "images").images.frames[0]
        kind = LensKind.EQUIRECTANGULAR if number == 17 else LensKind.FISHEYE
        assert frame.lens is not None and int(frame.lens.kind) == kind
    else:
        with refused(f"lens {model};", "SIMPLE_FISHEYE", "EQUIRECTANGULAR"):
            read_colmap(tmp_path, tmp_path / "images")
    (tmp_path / "cameras.bin").write_bytes(lens[:12] + struct.pack("<i", 18) + lens[16:])
    with refused("lens model 18", "0 to 17"):
        read_colmap(tmp_path, tmp_path / "images")


def test_a_panorama_of_colmap_is_forward_in_its_middle(tmp_path) -> None:
    write_colmap(tmp_path, binary=False)
    (tmp_path / "cameras.txt").write_text(f"7 EQUIRECTANGULAR {HW[1]} {HW[0]} {HW[1]} {HW[0]}\n")
    camera = read_colmap(tmp_path, tmp_path / "images").images.frames[0].camera
    places = torch.tensor([[0.0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, -1, 1]]).double()
    uv = project(replace(camera, world_from_camera=torch.eye(4).double()), places)[0]
    w, h = HW[1], HW[0]
    assert torch.allclose(
        uv, torch.tensor([[w / 2, h / 2], [w * 0.75, h / 2], [w / 4, h / 2], [w / 2, h / 4]]).double()
    )


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("empty", [True, False])
def test_a_model_of_known_poses_has_no_points(tmp_path, binary, empty) -> None:
    write_colmap(tmp_path, binary)
    path = next(tmp_path.glob("points3D.*"))
    path.unlink()
    if empty:
        path.touch()
    model = read_colmap(tmp_path, tmp_path / "images")
    assert len(model.images) == 3 and model.points.shape == (0, 3) and model.observed[0].tolist() == [-1] * 6


def test_smaller_copies_of_the_images_are_read_where_there_are_no_others(tmp_path) -> None:
    write_colmap(tmp_path, binary=False)
    (tmp_path / "sparse/0").mkdir(parents=True)
    (tmp_path / "sparse/1").mkdir(parents=True)
    for path in tmp_path.glob("*.txt"):
        shutil.copy(path, tmp_path / "sparse/1")
        path.rename(tmp_path / "sparse/0" / path.name)
    (tmp_path / "images").rename(tmp_path / "images_2")
    for path in (tmp_path / "images_2").iterdir():
        write_png(path, torch.rand(3, HW[0] // 2, HW[1] // 2))
    assert is_colmap_capture(tmp_path) and not is_colmap_capture(tmp_path / "sparse")
    with pytest.warns(Note) as notes:
        found = read_colmap_images(tmp_path)
    assert found.cameras.hw == (HW[0] // 2, HW[1] // 2)
    assert ["2 models" in str(n.message) for n in notes] == [True, False], "and the size"
    bare = read_colmap_images(tmp_path, need_images=False)
    assert len(bare) == 3, "without images too"


def test_a_fisheye_image_is_undistorted_to_what_its_pinhole_sees(tmp_path) -> None:
    lens = Lens.of(LensKind.FISHEYE, torch.tensor([0.02], dtype=torch.float64))
    camera = Cameras.from_fov(torch.eye(4, dtype=torch.float64), 160.0, HW, lens)
    image = PosedImage("a", None, camera.world_from_camera, camera.K, HW, lens)
    flat, pinhole = undistort_and_fill(ray_map(camera)[1].movedim(-1, 0).float(), image.camera)
    assert pinhole.lens is None and torch.equal(pinhole.K, camera.K.float())
    error = (torch.nn.functional.normalize(flat, dim=0) - ray_map(pinhole)[1].movedim(-1, 0)).norm(dim=0)
    assert float(error.max()) < 0.03, "bilinear between pixels of 8 degrees"
    assert torch.equal(square_camera(image.camera, "crop", 16).K, square(flat, pinhole, "crop", 16)[1].K)


def test_what_colmap_can_not_mean_here_is_refused(tmp_path, refused) -> None:
    with refused("no images.bin"):
        read_colmap(tmp_path, tmp_path)
    write_colmap(tmp_path, binary=False)
    with refused("no such image"):
        read_colmap(tmp_path, tmp_path)
    good = (tmp_path / "cameras.txt").read_text()
    for old, new, word in [
        ("RADIAL", "FOV", "lens FOV"), ("7 RADIAL", "8 RADIAL", "camera 7"), ("21.0", "-1", "focal"),
        ("21.0", "nan", "finite"), (f"{HW[1]} {HW[0]}", "24 19", "24x20"), (" -0.02", "", "RADIAL"),
    ]:  # fmt: skip
        (tmp_path / "cameras.txt").write_text(good.replace(old, new))
        with refused(word):
            read_colmap(tmp_path, tmp_path / "images")
    (tmp_path / "cameras.txt").write_text(good)
    images = (tmp_path / "images.txt").read_text()
    (tmp_path / "images.txt").write_text(images.replace("my image 1", "../../my image 1"))
    with refused("out of the file's folder"):
        read_colmap(tmp_path, tmp_path / "images")


def test_realestate10k_is_written_as_it_is_read(tmp_path, refused) -> None:
    write_realestate10k(tmp_path / "clip.txt")
    cameras = read_realestate10k(tmp_path / "clip.txt", hw=HW).cameras
    path = tmp_path / "again.txt"
    realestate10k.write_realestate10k(path, cameras, "https://example.com/watch")
    found = read_realestate10k(path, hw=HW).cameras
    assert torch.allclose(found.world_from_camera, cameras.world_from_camera, atol=1e-14)
    assert torch.allclose(found.K, cameras.K, rtol=1e-15) and torch.equal(found.time_s, cameras.time_s)
    assert path.read_text().splitlines()[0] == "https://example.com/watch"
    for bad, words in (
        (cameras[[1, 0]], "at increasing times"),
        (cameras[:0], "0 cameras"),
    ):
        with refused(words):
            realestate10k.write_realestate10k(tmp_path / "bad.txt", bad)
    with refused("one word"):
        realestate10k.write_realestate10k(tmp_path / "bad.txt", cameras, "two words")
    assert not (tmp_path / "bad.txt").exists()


def test_realestate10k_needs_a_size_or_takes_that_of_its_images_or_video(tmp_path, refused) -> None:
    cameras = write_realestate10k(tmp_path / "clip.txt")
    with refused("size"):
        read_realestate10k(tmp_path / "clip.txt")
    assert_same(read_realestate10k(tmp_path / "clip.txt", hw=HW), cameras)
    video = torch.rand(5, 3, *HW)
    write_mp4(tmp_path / "clip.mp4", video, 10.0)
    found = read_realestate10k(tmp_path / "clip.txt")
    assert_same(found, cameras)
    decoded = read_mp4(tmp_path / "clip.mp4")
    assert all(torch.equal(frame.read(), decoded[2 * n]) for n, frame in enumerate(found.frames)), "0.2 s is 2 frames"
    write_mp4(tmp_path / "clip.mp4", video[:3], 10.0)
    with refused("0.40 s at least"):
        read_realestate10k(tmp_path / "clip.txt")
    shutil.move(tmp_path / "clip.mp4", tmp_path / "away.mp4")
    (tmp_path / "clip").mkdir()
    with refused("no such image: 0, 200000, 400000 (3 of 3)"):
        read_realestate10k(tmp_path / "clip.txt")
    for bad in ("1 2 3", "1 " * 18 + "x", "-5 " + "1 " * 18, "nan " * 19):
        (tmp_path / "bad.txt").write_text(f"\n{bad}\n")
        with refused("line 2"):
            read_realestate10k(tmp_path / "bad.txt", hw=HW)


def test_real_realestate10k_paths_move_by_small_steps(shared: Path) -> None:
    for path in sorted((shared / "data/trajectories").glob("*/*.txt")):
        cameras = read_realestate10k(path, hw=(360, 640)).cameras
        angle = (cameras.forward[1:] * cameras.forward[:-1]).sum(-1).clamp(-1, 1).acos().rad2deg()
        assert len(cameras) > 10 and angle.max() < 15, path.name
        assert 250 < cameras.K[0, 0, 0] < 650


def test_videos_are_read_at_times(tmp_path, refused) -> None:
    write_mp4(tmp_path / "a.mp4", torch.rand(6, 3, 16, 24), 12.5)
    times, hw = video_times(tmp_path / "a.mp4")
    assert hw == (16, 24) and times == pytest.approx([0.08 * n for n in range(6)])
    frames = read_mp4(tmp_path / "a.mp4")
    for time, index in ((0.0, 0), (0.3, 4), (0.45, 5)):
        assert torch.equal(read_mp4_at(tmp_path / "a.mp4", [time])[0], frames[index])
    several = read_mp4_at(tmp_path / "a.mp4", [0.4, 0.0, 0.4])
    assert [torch.equal(a, frames[i]) for a, i in zip(several, (5, 0, 5))] == [True] * 3
    with refused("no frame at 0.700 s"):
        read_mp4_at(tmp_path / "a.mp4", [0.0, 0.7])


def test_a_nuscenes_dataset_gives_key_frames_in_order_with_lidar_on_its_points(tmp_path, refused) -> None:
    cameras, points = write_nuscenes(tmp_path)
    assert nuscenes_scenes(tmp_path) == ["scene-0001"]
    found = read_nuscenes(tmp_path, "scene-0001")
    assert_same(found, cameras)
    assert found.caption == "A small drive"
    assert [(frame.view, frame.time_s) for frame in found.frames] == [(1, 0.5), (4, 0.5), (1, 1.0), (4, 1.0)]
    for n, frame in enumerate(found.frames):
        assert frame.lidar is not None
        seen = transform_points(invert_rigid(cameras.world_from_camera[n]), points)
        assert torch.allclose(transform_points(frame.lidar.camera_from_lidar, frame.lidar.read()), seen, atol=1e-6)
    with refused("scene-0001"):
        read_nuscenes(tmp_path, "scene-0002")
    (tmp_path / "samples/CAM_BACK/1.png").unlink()
    with refused("CAM_BACK/1.png"):
        read_nuscenes(tmp_path, "scene-0001")
    (tmp_path / "v1.0-mini/ego_pose.json").write_text("[]")
    with refused("ego_pose"):
        read_nuscenes(tmp_path, "scene-0001")


def test_a_dgp_scene_gives_its_images_with_lidar_that_lands_on_its_points(tmp_path, refused) -> None:
    path, cameras, points = write_dgp(tmp_path)
    found = read_ddad(path)
    assert_same(found, cameras)
    assert [(frame.view, frame.time_s) for frame in found.frames] == [(0, 62.5), (1, 62.5)]
    for n, frame in enumerate(found.frames):
        assert frame.lidar is not None
        seen = transform_points(invert_rigid(cameras.world_from_camera[n]), points)
        assert torch.allclose(transform_points(frame.lidar.camera_from_lidar, frame.lidar.read()), seen, atol=1e-6)
    calibration = tmp_path / "calibration/abc.json"
    calibration.write_text(calibration.read_text().replace("CAMERA_02", "CAMERA_09"))
    with refused("CAMERA_02", "intrinsics"):
        read_ddad(path)
    path.write_text(path.read_text().replace('"abc"', '"../abc"'))
    with refused("calibration_key"):
        read_ddad(path)


@pytest.mark.parametrize("name", ["nuscenes_frame/sample.json", "ddad_scene_a/scene.json"])
def test_lidar_of_real_drives_lies_where_neighboring_cameras_see_the_same_things(shared: Path, name: str) -> None:
    """Points that two cameras see get nearly the same color from both: not so when poses are shifted."""
    read = read_nuscenes_frame if "nuscenes" in name else read_ddad
    frames = read(shared / "data" / name).frames[:6]
    agreement = {shift: [] for shift in (0.0, 0.1)}
    for shift, values in agreement.items():
        for a, b in [(i, j) for i in range(len(frames)) for j in range(i)]:
            if frames[a].time_s - frames[b].time_s > 0.2 or frames[a].view == frames[b].view:
                continue
            lidar, both = frames[a].lidar, []
            assert lidar is not None
            world = transform_points(frames[a].world_from_camera @ lidar.camera_from_lidar, lidar.read())
            for frame, turned in ((frames[a], 0.0), (frames[b], shift)):
                pose = frame.world_from_camera.clone()
                pose[:3, 3] += turned * pose[:3, 1] * 10  # a metre down
                uv, depth = project(Cameras(pose, frame.K, frame.hw), world)
                inside = (depth > 1) & (uv > 2).all(-1) & (uv[:, 0] < frame.hw[1] - 2) & (uv[:, 1] < frame.hw[0] - 2)
                column, row = uv.long().unbind(-1)
                rgb = frame.read()[:, row.clamp(0, frame.hw[0] - 1), column.clamp(0, frame.hw[1] - 1)].mean(0)
                both.append((inside, rgb))
            seen = both[0][0] & both[1][0]
            if int(seen.sum()) > 100:
                values.append(float(torch.corrcoef(torch.stack([both[0][1][seen], both[1][1][seen]]))[0, 1]))
    means = {shift: sum(values) / len(values) for shift, values in agreement.items()}
    assert means[0.0] > 0.45 and means[0.0] > means[0.1] + 0.2, means


def test_depth_comes_out_for_any_window_and_size_of_the_image(tmp_path) -> None:
    path, _, points = write_dgp(tmp_path)
    frame = read_ddad(path).frames[0]
    for camera in (frame.camera, frame.camera.cropped(2, 3, (16, 16)).resized((64, 64))):
        depth = frame.read_depth(camera)
        uv, z = project(camera, points)
        column, row = uv.floor().long().unbind(-1)
        inside = (row >= 0) & (column >= 0) & (row < camera.hw[0]) & (column < camera.hw[1])
        nearest = [float(z[(row == r) & (column == c)].min()) for r, c in zip(row[inside], column[inside])]
        assert torch.allclose(depth[0, row[inside], column[inside]], torch.tensor(nearest), rtol=1e-5)
        assert int((depth > 0).sum()) == len({(int(r), int(c)) for r, c in zip(row[inside], column[inside])})


def test_damaged_frames_are_one_line(shared: Path, tmp_path, refused) -> None:
    good = json.loads((shared / "data/nuscenes_frame/sample.json").read_text())
    path = tmp_path / "sample.json"
    for key, value, word in [("lidar", [], "lidar"), ("ego2global", 3, "ego2global"), ("cameras", {}, "no cameras")]:
        path.write_text(json.dumps(good | {key: value}))
        with refused(word):
            read_nuscenes_frame(path)
