"""OpenEXR files: exact numbers, checked by another reader, and one line for anything wrong."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from geometry.conventions import linear_from_srgb
from geometry.errors import InputError
from geometry.io.exr import read_exr, write_exr

HW = (5, 7)


def a_depth() -> torch.Tensor:
    depth = 100 * torch.rand(1, *HW)
    depth[0, 0, 0], depth[0, 0, 1] = 0, torch.inf
    return depth


def test_without_the_library_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    for call in (lambda: write_exr(tmp_path / "a.exr", torch.rand(3, *HW)), lambda: read_exr(tmp_path / "a.exr")):
        with pytest.raises(InputError, match=r"pip install 'worldgen\[exr\]'"):
            call()


def test_images_and_depth_come_back(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    rgb, depth = 2 * torch.rand(3, *HW), a_depth()
    for given in ((rgb, depth), (rgb, None), (None, depth)):
        write_exr(tmp_path / "a.exr", *given)
        found = read_exr(tmp_path / "a.exr")
        assert [x is None for x in found] == [x is None for x in given]
        assert found[0] is None or torch.allclose(found[0], rgb, atol=1e-6)
        assert found[1] is None or torch.equal(found[1], depth)


def test_another_reader_sees_linear_light(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    rgb = torch.rand(3, *HW)
    write_exr(tmp_path / "a.exr", rgb)
    with av.open(str(tmp_path / "a.exr")) as video:
        theirs = next(video.decode(video=0))
    assert theirs.format.name == "gbrpf32le"
    planes = [np.frombuffer(bytes(p), np.float32).reshape(HW[0], -1)[:, : HW[1]] for p in theirs.planes]
    assert np.allclose(np.stack([planes[2], planes[0], planes[1]]), linear_from_srgb(rgb).numpy(), atol=1e-6)


def test_files_of_others_are_read(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    half = np.full(HW, 0.25, np.float16)
    with exr.File({"type": exr.scanlineimage}, {"Y": half}) as file:
        file.write(str(tmp_path / "grey.exr"))
    rgb, depth = read_exr(tmp_path / "grey.exr")
    assert depth is None and rgb is not None and torch.allclose(linear_from_srgb(rgb), torch.full((3, *HW), 0.25))
    for layers, words in (
        ({"U": half}, "channels U"),
        ({"Z": half.astype(np.uint32)}, "integers"),
        ({"Z": -half}, "negative"),
        ({"R": half, "G": half, "B": half * np.float16(np.nan)}, "NaN"),
        ({"R": half, "G": half}, "channels G, R"),
    ):
        with exr.File({"type": exr.scanlineimage}, layers) as file:
            file.write(str(tmp_path / "bad.exr"))
        with pytest.raises(InputError, match=words):
            read_exr(tmp_path / "bad.exr")
    with pytest.raises(InputError, match="sides of 1 to 4"):
        read_exr(tmp_path / "grey.exr", max_side=4)


def test_what_can_not_be_written_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    rgb, depth = torch.rand(3, *HW), a_depth()
    for given, words in (
        ((None, None), "one size"),
        ((rgb, a_depth()[..., :3, :3].contiguous()), "one size"),
        ((rgb * torch.nan, None), "NaN"),
        ((None, -depth), "negative"),
    ):
        with pytest.raises(InputError, match=words):
            write_exr(tmp_path / "a.exr", *given)
    assert not list(tmp_path.iterdir())


FUZZ = """
import random, sys
from pathlib import Path
from geometry.errors import InputError
from geometry.io.exr import read_exr
from tests.geometry.io.test_corruption import corrupted
path, chance, refused = Path(sys.argv[1]), random.Random(0), 0
good = path.read_bytes()
for _ in range(int(sys.argv[2])):
    path.write_bytes(corrupted(good, chance))
    try:
        read_exr(path)
    except InputError as error:
        assert "\\n" not in str(error) and str(path) in str(error)
        refused += 1
print(refused)
"""


@pytest.mark.slow
def test_a_thousand_corrupt_files_are_judged_without_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    write_exr(tmp_path / "a.exr", torch.rand(3, *HW), a_depth())
    done = subprocess.run([sys.executable, "-c", FUZZ, str(tmp_path / "a.exr"), "1000"], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout.split()[-1]) > 100, done.stderr[-500:]
