"""The gallery's folder is whole or not there, and its videos, sheets and GLBs can be read."""

import json
from pathlib import Path

import pytest
import torch
import trimesh

from benchmarks.variety import NAMES, statistics
from geometry.errors import InputError
from geometry.io.images import read_image
from geometry.io.video import read_mp4
from worldgen.scenes.gallery import write_gallery


def test_a_gallery_has_a_sheet_a_video_and_a_glb_of_every_family_asked_for(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    write_gallery(["physics", "room"], tmp_path / "out", size_px=16, frames=3, on_step=lambda *step: done.append(step))
    assert done == [(0, 2), (1, 2), (2, 2)]
    facts = json.loads((tmp_path / "out" / "scenes.json").read_text())
    assert facts["physics"]["moving"] and not facts["room"]["moving"] and len(facts["room"]["captions"]) == 6
    for name in ("physics", "room"):
        folder = tmp_path / "out" / name
        assert read_image(folder / "sheet.png").shape == (3, 6 * 20 - 4, 6 * 20 - 4)
        assert read_mp4(folder / "clip.mp4").shape == (3, 3, 256, 512)
        loaded = trimesh.load(folder / "scene.glb")
        assert isinstance(loaded, trimesh.Scene) and len(loaded.geometry) == facts[name]["primitives"][0]


def test_a_gallery_that_can_t_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="castle"):
        write_gallery(["castle"], tmp_path / "out")
    with pytest.raises(InputError, match="at least 2"):
        write_gallery(["room"], tmp_path / "out", frames=1)
    assert list(tmp_path.iterdir()) == []


def test_the_slope_of_a_spectrum_is_that_of_the_noise_it_was_made_with() -> None:
    frequency = torch.fft.fftfreq(96) * 96
    radius = (frequency.square() + frequency[:, None].square()).sqrt().clamp_min(1)
    for slope in (-1.0, -2.0, -3.0):
        spectrum = torch.fft.fft2(torch.randn(40, 96, 96)) * radius ** (slope / 2)
        gray = torch.fft.ifft2(spectrum).real
        gray = 0.5 + 0.1 * gray / gray.std()
        measured = statistics(gray[:, None].expand(-1, 3, -1, -1))[:, NAMES.index("spectrum slope")]
        assert abs(float(measured.mean()) - slope) < 0.15


def test_statistics_of_plain_images_are_what_their_names_say() -> None:
    red = torch.tensor([0.8, 0.0, 0.0])[None, :, None, None].expand(1, 3, 96, 96)
    halves = torch.cat([torch.zeros(1, 3, 96, 48), torch.ones(1, 3, 96, 48)], -1)
    depth = torch.linspace(1, 100, 96 * 96).view(1, 1, 96, 96)
    first, second = statistics(red, depth)[0], statistics(halves)[0]
    assert first[NAMES.index("saturation")] == 1 and first[NAMES.index("hue entropy")] < 1e-6
    assert first[NAMES.index("contrast")] < 1e-6 and first[NAMES.index("edge share")] == 0
    assert abs(float(first[NAMES.index("depth range")]) - torch.log10(torch.tensor(95.05 / 5.95))) < 0.01
    assert abs(float(second[NAMES.index("contrast")]) - 0.5) < 0.01
    assert abs(float(second[NAMES.index("edge share")]) - 1 / 95) < 1e-6 and second[NAMES.index("saturation")] == 0
