"""Rigs written as COLMAP models are read again as they were, by us and by COLMAP."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.camera.rigs import Rig, RigCamera
from geometry.errors import InputError
from geometry.io.captures.colmap import read_colmap
from geometry.io.captures.colmap_rigs import ColmapRig, read_colmap_rigs, write_colmap_rig
from geometry.similarity import Similarity
from tests.geometry.camera.test_cameras import some_cameras

HW = (30, 50)


def a_rig() -> Rig:
    places = some_cameras((3,), HW, 5)
    K = places.K.clone()
    K[:, 0, 1] = 0
    fisheye = Lens.of(LensKind.FISHEYE, torch.tensor([0.1, 0.02, 0.0, 0.0]).double())
    names = ("front", "left", "right")
    lenses = (None, fisheye, None)
    return Rig(tuple(RigCamera(n, p, k, HW, lens) for n, p, k, lens in zip(names, places.world_from_camera, K, lenses)))


def path() -> torch.Tensor:
    return some_cameras((4,), HW, 6).world_from_camera


def same(found: ColmapRig) -> bool:
    """Whether it is `a_rig` along `path`, seen from its first camera."""
    rig, first = a_rig(), a_rig().members[0].rig_from_camera
    return (
        [m.name for m in found.rig.members] == [m.name for m in rig.members]
        and all(torch.equal(m.K, other.K) for m, other in zip(found.rig.members, rig.members))
        and [m.lens is None for m in found.rig.members] == [True, False, True]
        and torch.allclose(found.world_from_rig, path() @ first, atol=1e-12)
        and torch.allclose(
            found.cameras().world_from_camera, rig.cameras(path(), torch.arange(4).double()).world_from_camera,
            atol=1e-12,
        )
        and found.images[2] == ("front/000002.png", "left/000002.png", "right/000002.png")
    )  # fmt: skip


@pytest.mark.parametrize("binary", [True, False])
def test_a_rig_comes_back(binary: bool, tmp_path: Path) -> None:
    write_colmap_rig(tmp_path / "model", a_rig(), path(), binary=binary)
    (found,) = read_colmap_rigs(tmp_path / "model")
    assert same(found)
    alone = read_colmap(tmp_path / "model", need_images=False).images
    assert [frame.view for frame in alone.frames] == [1] * 4 + [2] * 4 + [3] * 4
    assert torch.allclose(alone.frames[5].world_from_camera, path()[1] @ a_rig().members[1].rig_from_camera, atol=1e-12)


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_itself_reads_it_and_what_it_writes_is_the_same(binary: bool, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    write_colmap_rig(tmp_path / "ours", a_rig(), path(), binary=binary)
    theirs = pycolmap.Reconstruction(str(tmp_path / "ours"))
    assert (theirs.num_rigs(), theirs.num_frames(), theirs.num_images(), theirs.num_cameras()) == (1, 4, 12, 3)
    for kind in ("text", "binary"):
        (tmp_path / kind).mkdir()
        getattr(theirs, f"write_{kind}")(str(tmp_path / kind))
        assert same(read_colmap_rigs(tmp_path / kind)[0])


RIGS = """# COLMAP's own words
1 3 CAMERA 1 CAMERA 2 1 1 0 0 0 -0.5 0 0 CAMERA 3 0
"""
FRAMES = """7 1 1 0 0 0 0 0 2 2 CAMERA 1 10 CAMERA 2 11
8 1 1 0 0 0 0 0 3 1 CAMERA 1 12
"""
IMAGES = "".join(
    f"{n} 1 0 0 0 {x} 0 {z} {camera} {name}\n\n"
    for n, x, z, camera, name in ((10, 0, 2, 1, "a.png"), (11, -0.5, 2, 2, "b.png"), (12, 0, 3, 1, "c.png"))
)


def by_hand(folder: Path, rigs: str = RIGS, frames: str = FRAMES) -> Path:
    folder.mkdir()
    cameras = "".join(f"{n} PINHOLE 50 30 40 40 25 15\n" for n in (1, 2, 3))
    files = {"cameras": cameras, "images": IMAGES, "points3D": "", "rigs": rigs, "frames": frames}
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text or "# none\n")
    return folder


def test_images_may_be_missing_and_cameras_without_images_are_left_out(tmp_path: Path) -> None:
    (found,) = read_colmap_rigs(by_hand(tmp_path / "model"))
    assert found.images == (("a.png", "b.png"), ("c.png", None))
    assert [member.name for member in found.rig.members] == ["camera 1", "camera 2"]
    assert found.rig["camera 2"].rig_from_camera[:3, 3].tolist() == [0.5, 0, 0]
    assert found.world_from_rig[:, 2, 3].tolist() == [-2, -3]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    (by_hand(tmp_path / "old") / "rigs.txt").unlink()
    for n, (rigs, frames, words) in enumerate((
        (RIGS.replace("CAMERA 1 CAMERA", "IMU 1 CAMERA"), FRAMES, "another reference sensor"),
        (RIGS.replace("CAMERA 2 1 1", "LIDAR 2 1 1"), FRAMES, "LIDAR"),
        (RIGS.replace("-0.5", "nan"), FRAMES, "a quaternion and a translation"),
        (RIGS.replace("-0.5 0 0 CAMERA 3 0", "-0.5"), FRAMES, "truncated"),
        (RIGS, FRAMES.replace("CAMERA 1 12", "CAMERA 2 12"), "image 12 of camera 2"),
        (RIGS, FRAMES.replace("CAMERA 2 11", "CAMERA 3 11"), "image 11 of camera 3"),
    )):  # fmt: skip
        with pytest.raises(InputError, match=words):
            read_colmap_rigs(by_hand(tmp_path / str(n), rigs, frames))
    with pytest.raises(InputError, match=r"no rigs.txt and frames.txt"):
        read_colmap_rigs(tmp_path / "old")
    late = Rig((*a_rig().members[:2], replace(a_rig().members[2], time_offset_s=0.1)))
    with pytest.raises(InputError, match="time offset"):
        write_colmap_rig(tmp_path / "late", late, path())
    with pytest.raises(InputError, match="names"):
        write_colmap_rig(tmp_path / "late", a_rig(), path(), [["a", "b", "c"]])
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize("binary", [True, False])
def test_a_world_to_store_it_in_is_undone(binary: bool, tmp_path: Path) -> None:
    stored = Similarity(
        torch.tensor(2.5).double(), some_cameras((1,), HW, 8).world_from_camera[0, :3, :3], torch.ones(3).double()
    )
    write_colmap_rig(tmp_path / "model", a_rig(), path(), None, torch.rand(4, 3), torch.rand(4, 3), binary, stored)
    (found,) = read_colmap_rigs(tmp_path / "model")
    assert same(found)
    model = read_colmap(tmp_path / "model", need_images=False)
    there = found.cameras().world_from_camera.view(4, 3, 4, 4)[:, 1]
    assert torch.allclose(torch.stack([f.world_from_camera for f in model.images.frames[4:8]]), there, atol=1e-12)
    (tmp_path / "model" / "stored_from_user.json").unlink()
    (bare,) = read_colmap_rigs(tmp_path / "model")
    apart = [rig.rig.members[1].rig_from_camera[:3, 3].norm() for rig in (bare, found)]
    assert float(apart[0] / apart[1]) == pytest.approx(2.5)
