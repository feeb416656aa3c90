"""The gallery's folder is complete or absent, and its videos, sheets and GLBs can be read."""

import json
from pathlib import Path

import pytest
import trimesh

from geometry.errors import InputError
from geometry.io.images import read_image
from geometry.io.video import read_mp4
from worldgen.scenes.gallery import write_gallery


def test_a_gallery_has_a_sheet_a_video_and_a_glb_of_every_family_named(tmp_path: Path) -> None:
    told = []
    names = ["physics", "room", "physics"]
    write_gallery(names, tmp_path / "out", size_px=16, frames=3, progress=lambda *at: told.append(at))
    assert told == [(0, "physics"), (0.5, "room"), (1, "done")]
    facts = json.loads((tmp_path / "out" / "scenes.json").read_text())
    assert facts["physics"]["moving"] and not facts["room"]["moving"] and len(facts["room"]["captions"]) == 6
    for name in ("physics", "room"):
        folder = tmp_path / "out" / name
        assert read_image(folder / "sheet.png").shape == (3, 6 * 20 - 4, 6 * 20 - 4)
        assert read_mp4(folder / "clip.mp4").shape == (3, 3, 256, 512)
        loaded = trimesh.load(folder / "scene.glb")
        assert isinstance(loaded, trimesh.Scene) and len(loaded.geometry) == facts[name]["primitives"][0]


def test_a_gallery_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="castle"):
        write_gallery(["castle"], tmp_path / "out")
    with pytest.raises(InputError, match="at least 2"):
        write_gallery(["room"], tmp_path / "out", frames=1)
    assert list(tmp_path.iterdir()) == []
