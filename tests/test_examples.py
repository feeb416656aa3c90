"""The examples do what they say."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

from geometry.io.images import read_image
from tests.data.videos import recorded, write_video


def example(root: Path, name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, root / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_model_trains_on_a_folder_of_posed_images_and_is_scored_on_those_held_out(
    root: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "capture").mkdir()
    write_video(tmp_path / "capture", "film", *recorded(frames=15))
    before, after, copied = example(root, "02_own_images").main(tmp_path / "capture", tmp_path / "out", 2)
    assert all(math.isfinite(value) and value > 5 for value in (before, after, copied))
    assert before != after, "two steps change what it says"
    assert "3 held-out images from the 4 nearest others" in capsys.readouterr().out
    assert (tmp_path / "out" / "run" / "model" / "weights.safetensors").exists()


def test_every_mode_is_drawn_beside_what_it_generates(root: Path, tmp_path: Path, capsys) -> None:
    modes = example(root, "03_modes")
    scores = modes.main(tmp_path, 1, 9)
    assert len(scores) == 12
    for name, (psnr_db, depth_error) in scores.items():
        assert name == "depth from images" or 10 < psnr_db < 40, name
        assert 0 < depth_error < 1, name
    assert scores["interpolation"][0] > scores["from nothing"][0]
    height, width = read_image(tmp_path / "modes.png").shape[1:]
    assert height > 12 * 200 and width >= 9 * 64
    assert "keyframes" in capsys.readouterr().out
