"""The site builds."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_every_page(root: Path, tmp_path: Path) -> None:
    for library in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(library, reason="needs the [docs] extra")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = [path.relative_to(root / "docs") for path in (root / "docs").rglob("*.md") if "_build" not in path.parts]
    pages = [page.with_suffix(".html") for page in pages if page.parts[:2] != ("_generated", "tables")]
    assert [page for page in pages if not (tmp_path / page).exists()] == []
