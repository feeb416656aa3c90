"""Curation keeps good clips, and drops those spoilt on purpose for the reason that they were spoilt."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage
from geometry.rotation.transforms import rigid, rotation_about
from tests.data.videos import SIDE, recorded, write_video
from worldgen.cli import main
from worldgen.data import Curation, Shards, curate, find_captures
from worldgen.data.camera_verbs import camera_verb
from worldgen.data.curation import squared_clip
from worldgen.data.filters import FilteredCapture, filter_capture, ordered
from worldgen.data.limits import Limits
from worldgen.data.measures import ImageMeasures, PairMeasures

SMALL = Curation(size_px=16, frames=4, captures_per_shard=1)


@pytest.fixture(scope="module")
def video() -> tuple[torch.Tensor, Cameras]:
    return recorded()


def filtered_video(folder: Path, rgb: torch.Tensor, cameras: Cameras, frames: int = 4) -> FilteredCapture:
    write_video(folder, "video", rgb, cameras)
    return filter_capture(ordered(find_captures(folder)[0].read().frames), frames, Limits())


def reasons(filtered: FilteredCapture) -> list[str]:
    return [image.reason.split(":")[0] for image in filtered.images]


def test_a_good_video_is_kept_whole(tmp_path, video) -> None:
    filtered = filtered_video(tmp_path, *video)
    assert reasons(filtered) == [""] * 12
    assert filtered.clips == ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))
    residuals = [step.residual_px for step in filtered.steps if step.residual_px is not None]
    assert len(residuals) >= 8 and max(residuals) < 1, residuals


def test_a_blurred_a_dark_and_a_flat_image_are_dropped_and_nothing_else(tmp_path, video) -> None:
    rgb = video[0].clone()
    rgb[2] = torch.nn.functional.avg_pool2d(rgb[2][None], 15, 1, 7, count_include_pad=False)[0]
    rgb[5] *= 0.02
    rgb[9] = 0.5
    found = reasons(filtered_video(tmp_path, rgb, video[1], frames=3))
    assert [found[n] for n in (2, 5, 9)] in (["blurred", "dark", "flat"], ["blurred", "flat", "flat"])
    assert [n for n, reason in enumerate(found) if not reason] == [0, 1, 3, 4, 6, 7, 8, 10, 11]


def test_a_cut_ends_a_clip(tmp_path, video) -> None:
    other, _ = recorded(scene=3)
    rgb = torch.cat([video[0][:5], other[5:].flip(-1)])
    filtered = filtered_video(tmp_path, rgb, video[1], frames=5)
    assert filtered.clips == ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (7, 8, 9, 10, 11)), "none spans the cut"


def test_poses_of_another_convention_are_detected(tmp_path, video) -> None:
    """OpenGL axes written as OpenCV ones, and camera-to-world as world-to-camera: the usual mistakes."""
    rgb, cameras = video
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    for n, poses in enumerate((cameras.world_from_camera @ flip, cameras.camera_from_world)):
        (tmp_path / str(n)).mkdir()
        filtered = filtered_video(tmp_path / str(n), rgb, Cameras(poses, cameras.K, cameras.hw))
        assert set(reasons(filtered)) <= {"poses", "fast"} and not filtered.clips, reasons(filtered)


def test_a_jump_of_the_camera_path_ends_a_clip(tmp_path, video) -> None:
    rgb, cameras = video
    poses = cameras.world_from_camera.clone()
    poses[6:, :3, 3] += 60 * (poses[6, :3, 3] - poses[5, :3, 3])
    filtered = filtered_video(tmp_path, rgb, Cameras(poses, cameras.K, cameras.hw), frames=5)
    assert not any({5, 6} <= set(clip) for clip in filtered.clips)


def test_a_video_of_one_still_is_dropped(tmp_path, video) -> None:
    rgb, cameras = video
    filtered = filtered_video(tmp_path, rgb[:1].expand(6, -1, -1, -1), cameras[torch.zeros(6, dtype=torch.long)])
    assert set(reasons(filtered)) == {"nothing moves"} and not filtered.clips


def test_a_pure_turn_is_measured_by_where_rotation_takes_the_pixels() -> None:
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 60), (200, 300), mode="bicubic")[0].clamp(0, 1)
    K = torch.tensor([[200.0, 0, 100], [0, 200, 100], [0, 0, 1]], dtype=torch.float64)
    turn = torch.atan(torch.tensor(20 / 200, dtype=torch.float64))
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[1] = rigid(rotation_about(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), turn), torch.zeros(3).double())
    cameras = Cameras(poses, K.expand(2, 3, 3), (200, 200))
    measured = [ImageMeasures.of(image[:, :, start : start + 200], cameras[n]) for n, start in enumerate((40, 60))]
    wrong = ImageMeasures.of(image[:, :, 60:260], Cameras(poses[1].mT.contiguous(), K, (200, 200)))
    right, other = PairMeasures.between(*measured), PairMeasures.between(measured[0], wrong)
    assert right.residual_px is not None and right.residual_px < 4, "a turn is nearly a shift, but for perspective"
    assert other.residual_px is not None and other.residual_px > 20


def test_images_without_times_are_ordered_by_the_numbers_in_their_names_and_thinned_by_camera() -> None:
    def image(name: str, time_s: float = 0.0, view: int = 0) -> PosedImage:
        eye = torch.eye(4, dtype=torch.float64)
        return PosedImage(name, None, eye, eye[:3, :3], (8, 8), view=view, time_s=time_s)

    assert [p.file_path for p in ordered([image(f"r_{n}") for n in (10, 9, 100, 1)])] == [
        "r_1",
        "r_9",
        "r_10",
        "r_100",
    ]
    rig = [image(f"{view}/{n}", n / 2, view) for view in (1, 0) for n in range(4)]
    assert [p.file_path for p in ordered(rig, every=2)] == ["0/0", "1/0", "0/2", "1/2"]


def test_a_curation_writes_shards_that_give_back_the_images_cameras_and_captions(tmp_path, video) -> None:
    source, output = tmp_path / "videos", tmp_path / "out"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        write_video(source / name, "video", *video)
    (source / "b/video.txt").write_text("\n1 2 3\n")
    report = curate([source], output, SMALL)
    assert (report["captures"], report["unreadable"], report["clips"], report["kept"]) == (2, 1, 3, 12)
    assert json.loads((output / "report.json").read_text()) == json.loads(json.dumps(report))
    assert "19 finite numbers" in (output / "report.md").read_text() and (output / "kept.png").is_file()
    shards = Shards(output)
    assert shards.keys == ["videos-a-video-0000", "videos-a-video-0001", "videos-a-video-0002"]
    sample = shards[1]
    assert sample.caption == "the camera orbits to the right" and sample.names[0] == "video/800000"
    expected = video[1].resized((16, 16))[4:8]
    assert (sample.clip.cameras.world_from_camera - expected.world_from_camera).abs().max() < 1e-5
    assert (sample.clip.cameras.K - expected.K).abs().max() < 1e-4
    small = torch.nn.functional.interpolate(video[0][4:8], (16, 16), mode="area")
    assert (sample.clip.rgb - small).abs().mean() < 0.03


def test_an_interrupted_curation_resumes_and_writes_the_same_bytes(tmp_path, video, monkeypatch) -> None:
    source = tmp_path / "videos"
    for name in ("a", "b", "c"):
        (source / name).mkdir(parents=True)
        write_video(source / name, "video", video[0], video[1])
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    curate([source], whole, SMALL)

    def interrupt(share: float, stage: str) -> None:
        assert stage == f"capture {round(3 * share) + 1}/3"
        if share == 2 / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curate([source], pieces, SMALL, interrupt)
    assert sorted(p.name for p in pieces.glob("*.tar")) == ["clips-00000.tar", "clips-00001.tar"]
    before = (pieces / "clips-00001.tar").stat().st_mtime_ns
    curate([source], pieces, SMALL)
    assert (pieces / "clips-00001.tar").stat().st_mtime_ns == before, "finished shards are not written again"
    for path in sorted(whole.iterdir()):
        assert (pieces / path.name).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(InputError, match="curation"):
        curate([source], pieces, Curation(size_px=32, frames=4))
    shutil.rmtree(pieces)
    pieces.mkdir()
    (pieces / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="something else"):
        curate([source], pieces, SMALL)


def test_the_command_curates_and_refuses_a_folder_without_captures(tmp_path, video, capsys) -> None:
    write_video(tmp_path, "video", *video)
    arguments = ["curate", str(tmp_path), "--output", str(tmp_path / "out"), "--frames", "6", "--size-px", "8"]
    assert main(arguments) == 0
    assert "2 clips of 12 images kept" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["curate", str(tmp_path / "empty"), "--output", str(tmp_path / "no")]) == 2
    error = capsys.readouterr().err
    assert "no capture found" in error and error.count("\n") == 1 and not (tmp_path / "no").exists()
    assert main([*arguments[:-1], "4"]) == 2


def test_real_captures_are_kept_or_dropped_as_a_person_would(shared: Path) -> None:
    """A hand-held video of a wall ornament is good; a head turned in front of a fixed background is not, since its
    poses hold for the head alone."""
    (fox,) = find_captures(shared / "data/fox")
    good = filter_capture(ordered(fox.read().frames)[:8], 4, Limits())
    assert reasons(good) == [""] * 8
    (head,) = find_captures(shared / "data/colmap_ethiopian_head")
    bad = filter_capture(ordered(head.read().frames)[:8], 4, Limits())
    assert reasons(bad).count("poses") >= 6


def test_times_of_clips_start_at_zero_since_float32_cannot_hold_seconds_since_1970(tmp_path, video) -> None:
    write_video(tmp_path, "video", *video)
    frames = find_captures(tmp_path)[0].read().frames[:3]
    late = [replace(frame, time_s=1.5e9 + frame.time_s) for frame in frames]
    times = squared_clip(late, "crop", 16).cameras.time_s
    assert torch.allclose(times, torch.tensor([0.0, 0.2, 0.4]), atol=1e-6)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "locked").mkdir()
    usual = Path.iterdir

    def listed(folder: Path):
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return usual(folder)

    monkeypatch.setattr(Path, "iterdir", listed)
    with pytest.raises(InputError, match=r"locked: cannot be read \(Permission denied\)"):
        find_captures(tmp_path)


def test_links_between_folders_are_followed_once_also_out_of_the_folder_and_round_in_circles(
    tmp_path, video, monkeypatch
) -> None:
    rgb, cameras = video
    write_video(tmp_path / "elsewhere", "video", rgb, cameras)
    for name in ("a", "b", "b/c"):
        (tmp_path / "captures" / name).mkdir(parents=True)
        (tmp_path / "captures" / name / "around").symlink_to(tmp_path / "captures")
        (tmp_path / "captures" / name / "again").symlink_to(tmp_path / "captures" / "b")
    (tmp_path / "captures" / "linked").symlink_to(tmp_path / "elsewhere")
    [found] = find_captures(tmp_path / "captures")
    assert found.name.startswith("captures-linked") and len(found.read()) == len(cameras)
    monkeypatch.chdir(tmp_path / "captures")
    [here] = find_captures(Path())
    assert len(here.read()) == len(cameras)


def test_all_formats_in_a_folder_are_found(shared: Path) -> None:
    found = {capture.kind: len(capture.read()) for capture in find_captures(shared / "data")}
    assert found.pop("transforms.json") in (4, 16, 25), "fox, and two of lego"
    assert found == {"COLMAP": 30, "DDAD": 9, "LLFF": 23, "nuScenes frame": 6}


@pytest.mark.parametrize(
    ("step", "turn_deg", "verb"),
    [
        ((0, 0, 1), 0, "moves forward"), ((0, 0, -1), 0, "moves backward"), ((1, 0, 0), 0, "moves to the right"),
        ((0, -1, 0), 0, "rises"), ((0, 0, 0), 20, "pans to the right"), ((0, 0, 0), -20, "pans to the left"),
        ((1, 0, 0), -30, "orbits to the right"), ((-1, 0, 0), 30, "orbits to the left"), ((0, 0, 0), 0, "stands still"),
    ],
)  # fmt: skip
def test_camera_verbs(step, turn_deg, verb) -> None:
    share = torch.linspace(0, 1, 5)
    rotation = rotation_about(torch.tensor([0.0, 1.0, 0.0]).expand(5, 3), torch.deg2rad(share * turn_deg))
    poses = rigid(rotation, share[:, None] * torch.tensor(step, dtype=torch.float32))
    cameras = Cameras.from_fov(poses, 50.0, (SIDE, SIDE))
    timed = Cameras(poses, cameras.K, cameras.hw, cameras.view, share)
    assert camera_verb(timed) == f"the camera {verb}"
    assert camera_verb(cameras) == "several views of one scene"
