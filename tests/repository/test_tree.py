"""The documentation's page of the tree is the tree on the disk."""

import re
from pathlib import Path

import pytest

from docs.generate import FOLDERS, first_sentence, tree, tree_page


@pytest.fixture(scope="module")
def listed(root: Path) -> list[str]:
    """The paths of the page: a heading a folder, a line a file."""
    folder, paths = "", []
    for line in tree_page(tree(root)).splitlines():
        if line.startswith("## "):
            folder = line.removeprefix("## ")
        elif entry := re.match(r"- `(\S+)`: \S", line):
            paths.append(f"{folder}/{entry[1]}")
    return paths


def test_every_module_example_and_config_is_in_the_tree_once(root: Path, listed: list[str]) -> None:
    files = [path for folder in FOLDERS for kind in ("*.py", "*.yaml") for path in (root / folder).rglob(kind)]
    paths = [path.relative_to(root) for path in files if path.name != "__init__.py"]
    wanted = {path.as_posix() for path in paths if "tests" not in path.parts}
    assert sorted(wanted - set(listed)) == [], "without a line in the tree: they say nothing of themselves"
    assert len(listed) == len(set(listed))


def test_every_path_in_the_tree_exists(root: Path, listed: list[str]) -> None:
    assert [path for path in listed if not (root / path).exists()] == []


def test_what_a_file_says_of_itself_is_its_first_sentence(tmp_path: Path) -> None:
    module, config = tmp_path / "a.py", tmp_path / "a.yaml"
    module.write_text('"""`A`: one [b, 2]\nthing. And more.\n\nElse."""\n')
    config.write_text("# A run. It\n# is long.\nkey: 1  # a value\n")
    assert first_sentence(module) == "`A`: one [b, 2] thing"
    assert first_sentence(config) == "A run"
    assert r"- `a.py`: `A`: one \[b, 2\] thing" in tree_page({"x/a.py": first_sentence(module)})
