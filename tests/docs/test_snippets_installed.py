"""Every code block of the README and the documentation does what the page says where the wheel is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.wheel import installed

BESIDE = ("README.md", "Makefile", "pyproject.toml", "docs", "tests", "examples", "benchmarks")
RUN = """
import sys
from pathlib import Path
import pytest
ended = pytest.main(["-q", "-p", "no:cacheprovider", "tests/docs/test_snippets.py"])
import geometry, worldgen
assert all(Path(package.__file__).is_relative_to(sys.argv[1]) for package in (geometry, worldgen)), sys.path
sys.exit(ended)
"""


@pytest.mark.slow
def test_the_pages_hold_for_the_installed_wheel_without_the_repository(root: Path, tmp_path: Path) -> None:
    environment, elsewhere = installed(root, tmp_path / "installed"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in BESIDE:
        if (root / name).is_dir():
            shutil.copytree(root / name, elsewhere / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy(root / name, elsewhere / name)
    command = [sys.executable, "-c", RUN, environment["PYTHONPATH"]]
    ended = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
