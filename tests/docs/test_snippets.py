"""Every code block of the README and the documentation does what the page says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from geometry.camera.cameras import Cameras
from geometry.camera.conversion import CONVENTIONS
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.formats import FORMATS
from geometry.io.images import write_png
from geometry.trajectory.moves import MOVES
from geometry.trajectory.paths import orbit
from tests.docs.snippets import Snippet, check, commands, execute, run, snippets
from worldgen.commands import COMMANDS
from worldgen.core.modalities import MODALITIES
from worldgen.models.network.backbones import BACKBONES
from worldgen.sampling.solvers import SOLVERS
from worldgen.scenes.families.family import FAMILIES, draw
from worldgen.scenes.rendering.renderer import render
from worldgen.training.objectives.terms import TERMS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md"]
    + [path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "_generated"} & set(path.parts)]
    + list((ROOT / "worldgen" / "weights").glob("*/README.md"))
)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take as there: photo.jpg, and posed images in capture/."""
    folder = tmp_path_factory.mktemp("material")
    cameras = Cameras.from_fov(orbit(torch.tensor([0.0, 0.0, 0.25]), 3.0, 25.0, 12, 0.0, 60.0), 50.0, (64, 64))
    clip = render(draw("texture_soup", 5, [0]), cameras[None], supersample=2)[0]
    names = [f"images/{n:02d}.png" for n in range(len(clip))]
    for name, rgb in zip(names, clip.rgb):
        write_png(folder / "capture" / name, rgb)
    write_transforms(folder / "capture" / "transforms.json", cameras, names)
    photo = render(draw("tabletop", 5, [0]), cameras[:1][None], supersample=2)[0].rgb[0]
    Image.fromarray((photo.permute(1, 2, 0) * 255).byte().numpy()).save(folder / "photo.jpg")
    return folder


@pytest.fixture
def folder(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh folder with the pages' material, in which the blocks run."""
    for path in (*material.iterdir(), ROOT / "examples"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    tables: list[dict[str, Any]] = [
        SOLVERS,
        TERMS,
        FORMATS,
        FAMILIES,
        COMMANDS,
        CONVENTIONS,
        MOVES,
        BACKBONES,
        MODALITIES,
        CONVENTIONS,
    ]
    before = [dict(table) for table in tables]
    yield tmp_path
    for table, entries in zip(tables, before):  # what a page adds is its own
        table.clear()
        table.update(entries)


def name_of(page: Path) -> str:
    """A page as a test's name."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_runs_in_order(page: Path, folder: Path) -> None:
    names: dict = {"__name__": "__main__"}
    for snippet in snippets(page):
        match snippet.language:
            case "python":
                execute(snippet, names)
            case "bash":
                shell(snippet)
            case "yaml" if snippet.options.startswith("file="):
                Path(snippet.options.removeprefix("file=")).write_text(snippet.text, encoding="utf-8")
            case "yaml" | "text" | "json":
                pass
            case _:
                raise AssertionError(f"{snippet.where}: {snippet.language}; expected python, bash, yaml, json or text")


def shell(snippet: Snippet) -> None:
    """Check the lines of a shell block, and run those of `worldgen` where it says so."""
    if snippet.options.startswith("no-run: "):
        return
    for words in commands(snippet):
        check(words, ROOT)
        if snippet.options == "run":
            run(words)


def test_a_block_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n\n```bash\nworldgen orbitt\n```\n"
    )
    first, second, third = snippets(page)
    names: dict = {}
    execute(first, names)
    with pytest.raises(AssertionError):
        execute(second, names)
    assert second.line == 8
    with pytest.raises(AssertionError, match="refused"):
        check(commands(third)[0], ROOT)
