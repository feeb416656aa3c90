"""Shards: what goes in comes out, in any WebDataset reader's eyes too, and batches depend on seed and step alone."""

import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.data.shards import Sample, Shards, ShardStream, write_index, write_shard


def sample(n: int, frames: int = 5, depth: bool = True) -> Sample:
    torch.manual_seed(n)
    rgb = (torch.rand(frames, 3, 12, 16) * 255).round() / 255
    z = 1 + 5 * torch.rand(frames, 1, 12, 16) if depth else torch.zeros(frames, 1, 12, 16)
    z[:, :, :3] = 0
    if depth:
        z[0, :, 5] = torch.inf
    poses = orbit(torch.tensor([0.1, 0.2, float(n)]), 2.0, 10.0, frames)
    cameras = Cameras.from_fov(poses, 47.0, (12, 16))
    timed = Cameras(poses, cameras.K, cameras.hw, torch.arange(frames) % 2, torch.arange(frames) / 10)
    return Sample(f"clip-{n:03d}", Clip(rgb, z, timed), f"clip number {n}", "made up", tuple("abcdefgh"[:frames]))


@pytest.fixture
def folder(tmp_path) -> Path:
    for shard in range(3):
        write_shard(tmp_path / f"clips-{shard}.tar", [sample(4 * shard + n) for n in range(4)])
    write_index(tmp_path)
    return tmp_path


def test_clips_come_back_as_they_were(folder) -> None:
    shards = Shards(folder)
    assert len(shards) == 12 and shards.keys[5] == "clip-005"
    for n in (0, 7, 11):
        back, truth = shards[n], sample(n)
        assert (back.caption, back.source, back.names, back.key) == (truth.caption, "made up", truth.names, truth.key)
        assert torch.equal(back.clip.rgb, truth.clip.rgb)
        finite = truth.clip.depth.isfinite()
        assert torch.equal(finite, back.clip.depth.isfinite())
        assert (back.clip.depth - truth.clip.depth)[finite].abs().max() <= 0.00051
        for name in ("world_from_camera", "K", "view", "time_s"):
            assert torch.equal(getattr(back.clip.cameras, name), getattr(truth.clip.cameras, name)), name


def test_lenses_come_back_too(tmp_path) -> None:
    clip = sample(0).clip
    barrel = Lens.of(LensKind.OPENCV, torch.tensor([0.25, 0.5]).expand(2, 2))
    fisheye = Lens.of(LensKind.FISHEYE, torch.tensor([-0.03]).expand(3, 1))
    bent = replace(clip, cameras=replace(clip.cameras, lens=Lens.cat([barrel, fisheye])))
    write_shard(tmp_path / "a.tar", [Sample("bent", bent), Sample("straight", clip)])
    found, none = (Shards(tmp_path)[n].clip.cameras.lens for n in range(2))
    assert none is None and found is not None and bent.cameras.lens is not None
    for name in ("kind", "coefficients", "reach"):
        assert torch.equal(getattr(found, name), getattr(bent.cameras.lens, name)), name


def test_clips_without_depth_hold_none(tmp_path) -> None:
    write_shard(tmp_path / "a.tar", [sample(0, depth=False)])
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["clip-000.clip.json", *(f"clip-000.{n:03d}.rgb.png" for n in range(5))]
    assert not bool(Shards(tmp_path)[0].clip.depth.any())


def test_equal_clips_make_equal_bytes_and_the_index_is_what_a_scan_finds(folder, tmp_path_factory) -> None:
    again = tmp_path_factory.mktemp("again")
    write_shard(again / "clips-0.tar", (sample(n) for n in range(4)))
    assert (again / "clips-0.tar").read_bytes() == (folder / "clips-0.tar").read_bytes()
    indexed = Shards(folder)[9]
    (folder / "index.json").unlink()
    assert torch.equal(Shards(folder)[9].clip.rgb, indexed.clip.rgb)


def test_the_webdataset_library_reads_them(folder) -> None:
    webdataset = pytest.importorskip("webdataset")
    rows = list(webdataset.WebDataset(str(folder / "clips-1.tar"), shardshuffle=False))
    assert [row["__key__"] for row in rows] == ["clip-004", "clip-005", "clip-006", "clip-007"]
    assert json.loads(rows[2]["clip.json"])["caption"] == "clip number 6"
    assert rows[2]["003.rgb.png"].startswith(b"\x89PNG")


def test_every_epoch_shows_every_clip_once_and_ranks_share_a_batch(folder) -> None:
    shards = Shards(folder)
    stream = ShardStream(shards, 4, (2, 3), seed=7)
    for epoch in range(3):
        shown = [n for step in range(3 * epoch, 3 * epoch + 3) for n in stream.numbers(step)]
        assert sorted(shown) == list(range(12))
    assert stream.numbers(0) + stream.numbers(1) != stream.numbers(3) + stream.numbers(4)
    whole = stream.batch(5)
    parts = [ShardStream(shards, 4, (2, 3), 7, rank, 2).batch(5) for rank in range(2)]
    assert torch.equal(torch.cat([part.rgb for part in parts]), whole.rgb)
    assert torch.equal(torch.cat([part.cameras.world_from_camera for part in parts]), whole.cameras.world_from_camera)
    assert {len(stream.batch(step)) for step in range(8)} == {2, 3}


def test_a_batch_is_a_function_of_seed_and_step_in_another_process_too(folder) -> None:
    code = (
        "from pathlib import Path; from worldgen.data.shards import Shards, ShardStream; "
        f"b = ShardStream(Shards(Path({str(folder)!r})), 4, (3,), seed=3).batch(17); print(float(b.rgb.double().sum()))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = ShardStream(Shards(folder), 4, (3,), seed=3)
    here.batch(2)
    assert float(there) == float(here.batch(17).rgb.double().sum())
    assert float(there) != float(ShardStream(Shards(folder), 4, (3,), seed=4).batch(17).rgb.double().sum())


def test_bad_shards_are_one_line(folder) -> None:
    with pytest.raises(InputError, match="multiple of the ranks"):
        ShardStream(Shards(folder), 4, (2,), world_size=3)
    with pytest.raises(InputError, match="5 frames; expected at least 6"):
        ShardStream(Shards(folder), 4, (6,)).batch(0)
    with pytest.raises(InputError, match="given twice"):
        write_shard(folder / "new.tar", [sample(1), sample(1)])
    assert not (folder / "new.tar").exists()
    with pytest.raises(InputError, match="letters"):
        Sample("a.b", sample(0).clip)
    good = (folder / "clips-1.tar").read_bytes()
    (folder / "clips-1.tar").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"clips-1.tar: clip-007: damaged"):
        Shards(folder)[7]
    (folder / "index.json").unlink()
    with pytest.raises(InputError, match=r"clips-1\.tar"):
        Shards(folder)
    (folder / "index.json").write_text(json.dumps({"shards": {"gone.tar": {"a": {"clip.json": [0, 1]}}}}))
    with pytest.raises(InputError, match=r"gone.tar"):
        Shards(folder)
    with pytest.raises(InputError, match=r"no \*\.tar"):
        Shards(folder / "nowhere")
