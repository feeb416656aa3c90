"""The tree in README.md is the tree on the disk."""

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def listed(root: Path) -> list[str]:
    """The paths of the README's tree, a fenced block of lines `path  — what it is`."""
    block = re.search(r"^## The tree\n.*?^```\n(.*?)^```", (root / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert block, "README.md has no fenced block under '## The tree'"
    lines = [re.fullmatch(r"(\S+) +— (\S.*)", line) for line in block[1].splitlines() if line]
    assert all(lines), block[1]
    return [line[1] for line in lines if line]


def test_every_module_example_and_config_is_in_the_readme_tree_once(root: Path, listed: list[str]) -> None:
    python = [path for folder in ("geometry", "worldgen", "examples") for path in (root / folder).rglob("*.py")]
    wanted = [path for path in python if path.name != "__init__.py"] + list((root / "configs").rglob("*.yaml"))
    missing = sorted({path.relative_to(root).as_posix() for path in wanted} - set(listed))
    assert not missing, "not in the README's tree:\n" + "\n".join(missing)
    assert len(listed) == len(set(listed)), listed


def test_every_path_in_the_readme_tree_exists(root: Path, listed: list[str]) -> None:
    assert [path for path in listed if not (root / path).exists()] == []
