"""No module imports itself round a corner, no room imports from one above it, and the rooms stay few arrows apart."""

import re
from pathlib import Path

import pytest

from tests.repository.import_graph import Graph, cycles, graph, main, read, room, room_arrows, upward

MOST_ARROWS = 70


@pytest.fixture(scope="module")
def arrows(root: Path) -> Graph:
    """The import graph of the packages."""
    return read(root)


def test_no_modules_import_each_other_in_a_circle(arrows: Graph) -> None:
    assert cycles(arrows) == []


def test_no_room_imports_from_one_that_is_not_below_it(arrows: Graph) -> None:
    assert upward(arrows) == []


def test_rooms_are_few_arrows_apart(arrows: Graph) -> None:
    between = room_arrows(arrows)
    assert sum(map(len, between.values())) <= MOST_ARROWS, between


def test_nothing_that_is_installed_or_tested_needs_the_benchmarks(root: Path) -> None:
    paths = [path for folder in ("geometry", "worldgen", "examples", "tests") for path in (root / folder).rglob("*.py")]
    users = [
        path.relative_to(root).as_posix()
        for path in sorted(paths)
        if re.search(r"^\s*(from|import) benchmarks\b", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert users == []


@pytest.mark.parametrize(
    "text",
    [
        "import worldgen.core.clip",
        "from worldgen.core.clip import Clip",
        "from worldgen.core import clip",
        "def later():\n    from worldgen.core.clip import Clip",
        "if TYPE_CHECKING:\n    from worldgen.core.clip import Clip",
        "import_module('worldgen.core.clip')",
    ],
)
def test_an_import_counts_wherever_and_however_it_is_written(text: str) -> None:
    sources = {"worldgen.core": "", "worldgen.core.clip": "", "worldgen.runtime.rng": text}
    arrows = graph(sources)
    assert arrows["worldgen.runtime.rng"] == {"worldgen.core.clip"}
    assert upward(arrows) == ["worldgen.runtime.rng -> worldgen.core.clip"]


def test_a_name_of_a_package_counts_as_the_package_and_a_relative_import_is_refused() -> None:
    sources = {"worldgen.core": "Clip = 1", "worldgen.models.a": "from worldgen.core import Clip\nimport torch"}
    assert graph(sources)["worldgen.models.a"] == {"worldgen.core"}
    with pytest.raises(ValueError, match="expected absolute ones"):
        graph({"worldgen.core.a": "from . import b"})


def test_a_circle_is_found_with_all_its_modules_and_nothing_that_only_hangs_on_it() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}, "f": {"g"}, "g": {"f"}}
    assert cycles(arrows) == [["a", "b", "c"], ["f", "g"]]


def test_a_room_without_a_layer_is_refused() -> None:
    assert [room(name) for name in ("geometry.camera.rays", "worldgen", "worldgen.cli", "worldgen.core.clip")] == [
        "geometry", "__init__", "cli", "core"]  # fmt: skip
    with pytest.raises(ValueError, match="expected each in LAYERS"):
        upward({"worldgen.attic.box": set()})


def test_the_command_prints_the_graph_and_fails_where_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    out = capsys.readouterr().out
    assert "0 cycles" in out and "0 upward arrows" in out
    assert "  evaluation -> core" in out
