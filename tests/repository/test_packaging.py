"""What is installed is what is here."""

import ast
import importlib
import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    for name in ("geometry", "worldgen"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    files = [path for name in ("geometry", "worldgen") for path in (source / name).rglob("*") if path.is_file()]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {path.relative_to(source).as_posix() for path in files}


def test_every_name_in_an_all_exists(root: Path) -> None:
    paths = [path for name in ("geometry", "worldgen") for path in (root / name).rglob("*.py")]
    promising = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if any(isinstance(node, ast.Name) and node.id == "__all__" for node in ast.walk(ast.parse(path.read_text())))
    ]
    modules = [importlib.import_module(name) for name in promising]
    absent = [f"{module.__name__}.{name}" for module in modules for name in module.__all__ if not hasattr(module, name)]
    assert modules and absent == []


def test_the_installed_version_is_the_declared_one(project: dict[str, Any]) -> None:
    assert importlib.metadata.version("worldgen") == project["version"]


def test_the_commands_exist(project: dict[str, Any]) -> None:
    for target in project["scripts"].values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
