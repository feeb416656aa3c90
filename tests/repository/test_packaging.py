"""What is installed is what is here."""

import ast
import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.io.images import write_png
from tests.repository.wheel import PACKAGES, built, held, installed


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_every_file_of_the_packages_the_configurations_and_nothing_else(
    root: Path, tmp_path: Path
) -> None:
    wheel, source = built(root, tmp_path), tmp_path / "source"
    files = [path for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()]
    wanted = {path.relative_to(source).as_posix() for path in files if "build" not in path.parts}
    configs = {f"worldgen/configs/{path.name}" for path in (root / "configs").iterdir()}
    assert held(wheel) == wanted | configs and len(configs) > 5


# Every command once, from a folder that holds a photo and nothing else, with configurations by name.
LINES = """
orbit photo.png -o world --model tiny-4 --frames 3 --steps 1 --quiet
cameras show world/transforms.json -o cameras.png
cameras convert world/transforms.json path.tum
plan tiny train.device=cpu
train tiny {short} {shorter} train.averages=[0.2] train.average_every=1 output=run
average run --length 0.2 -o averaged --quiet
blend tiny averaged -o blended
train-codec vae {short} output=codec
evaluate orbit --config set.yaml --scenes 1 --sampled -o orbit --model blended
evaluate families --config families.yaml --scenes 1 -o families --model tiny-4
evaluate captures world/transforms.json --given 2 -o captures --model tiny
scenes --families tabletop --size-px 8 --frames 2 -o gallery
curate world/transforms.json -o shards --frames 2 --limits.max-blur 1 --limits.min-contrast 0
"""
SHORTER = "train.alignment_weight=0 data.pool=1 data.views=2 data.reuse=1 model.sampling.steps=1"
SHORT = "train.steps=2 train.warmup=1 train.batch=2 train.frames=[2] train.device=cpu train.log_every=1"
RUN = """
import sys, shlex, worldgen
from pathlib import Path
from worldgen.cli import main
from worldgen.commands import COMMANDS, _parts
assert Path(worldgen.__file__).is_relative_to(sys.argv[1]), worldgen.__file__
lines = [shlex.split(line) for line in sys.stdin.read().splitlines() if line]
for name, kind in COMMANDS.items():
    for part in _parts(kind) or [""]:
        assert any(line[0] == name and part in ("", *line[1:2]) for line in lines), (name, part)
for line in lines:
    assert main(line) == 0, line
"""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the installed wheel."""
    return installed(root, tmp_path_factory.mktemp("wheel") / "installed")


def test_the_installed_wheel_says_its_version_and_finds_its_configurations(
    wheel: dict[str, str], root: Path, tmp_path: Path
) -> None:
    run = partial(subprocess.run, cwd=tmp_path, env=wheel, capture_output=True, text=True, check=True)
    said = run([sys.executable, "-m", "worldgen", "--version"]).stdout
    assert said == f"worldgen {importlib.metadata.version('worldgen')}\n"
    names = [path.stem for path in (root / "configs").iterdir()]
    code = f"from worldgen.runtime.config import config_file\nprint(*[config_file(name) for name in {names}])"
    paths = [Path(path) for path in run([sys.executable, "-c", code]).stdout.split()]
    assert {path.parent for path in paths} == {Path(wheel["PYTHONPATH"]) / "worldgen" / "configs"}
    assert all(path.is_file() for path in paths)


@pytest.mark.slow
def test_every_command_runs_from_the_installed_wheel_in_a_folder_of_its_own(
    wheel: dict[str, str], tmp_path: Path
) -> None:
    write_png(tmp_path / "photo.png", torch.rand(3, 48, 64))
    (tmp_path / "set.yaml").write_text("base: evaluate_orbit\ngiven: [1]\nspreads_deg: {narrow: 14.0}\n")
    (tmp_path / "families.yaml").write_text("base: evaluate_families\nfamilies: [texture_soup]\ngiven: [2]\n")
    lines = LINES.format(short=SHORT, shorter=SHORTER)
    command = [sys.executable, "-c", RUN, wheel["PYTHONPATH"]]
    ended = subprocess.run(command, cwd=tmp_path, env=wheel, input=lines, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    made = ("run/model/config.json", "orbit/report.md", "codec/codec/codec.json", "shards/report.md")
    assert [name for name in made if not (tmp_path / name).is_file()] == []


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
