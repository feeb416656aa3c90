"""What the tests of pipelines share: a capture of a held-out scene on disk, and the embedded model."""

from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.models.world_model import WorldModel
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

PIVOT = torch.tensor([0.0, 0.0, 0.25])


@pytest.fixture(scope="session")
def tiny() -> WorldModel:
    """The embedded model."""
    return WorldModel.load("tiny")


@pytest.fixture(scope="session")
def truth() -> Clip:
    """Six frames [6] around a held-out scene, 72 x 64 pixels, exact."""
    cameras = Cameras.from_fov(orbit(PIVOT, 3.3, 28.0, 6), 52.0, (64, 72))
    return render(tabletop(0, [7], held_out=True), cameras[None])[0]


@pytest.fixture
def capture(truth: Clip, tmp_path: Path) -> Path:
    """The folder of those frames with their transforms.json."""
    folder = tmp_path / "capture"
    names = [f"images/{i}.png" for i in range(len(truth))]
    for name, rgb in zip(names, truth.rgb):
        write_png(folder / name, rgb)
    write_transforms(folder / "transforms.json", truth.cameras, names)
    return folder
