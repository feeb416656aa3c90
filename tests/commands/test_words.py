"""The library speaks of arguments, the command line of options, by one mechanism."""

import ast
import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from geometry.errors import InputError, note
from worldgen import cli
from worldgen.commands import COMMANDS

INSTALLING = ("pip install", "conda env", "docker")  # commands of other programs


def options(kind: Any) -> set[str]:
    """The options of a command, those of its subcommands and of values it takes apart included."""
    found: set[str] = set()
    for name, hint in typing.get_type_hints(kind).items():
        found.add(name.replace("_", "-"))
        parts = [hint]
        while parts:
            part = parts.pop()
            parts += typing.get_args(part)
            if isinstance(part, type) and dataclasses.is_dataclass(part):
                found |= options(part)
    return found


def texts(root: Path) -> list[tuple[str, str]]:
    """Every text of the packages that is no docstring, with its place; those of the commands are not asked."""
    found = []
    for path in (p for package in ("geometry", "worldgen") for p in sorted((root / package).rglob("*.py"))):
        if "commands" in path.parts or path.name == "cli.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body and isinstance(node.body[0], ast.Expr)
        }  # fmt: skip
        found += [
            (f"{path.name}:{node.lineno}", node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        ]
    return found


def test_the_command_line_says_option_where_the_library_says_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> None:
        note("sizes differ: see `fov_deg=`")
        raise InputError("2 images; expected `cameras=` or `hw=`\nof them, not `worldgen.orbit` or a = b")

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main([]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "worldgen: note: sizes differ: see --fov-deg"
    assert second == "worldgen: 2 images; expected --cameras or --size of them, not `worldgen.orbit` or a = b"


def test_texts_of_the_library_name_no_option_of_the_command_line(root: Path) -> None:
    named = [(place, text) for place, text in texts(root) if re.search(r"(^|[\s(`'\"])--[a-z]", text)]
    assert [found for found in named if not any(word in found[1] for word in INSTALLING)] == []


def test_every_argument_that_a_text_names_is_an_option_of_some_command(root: Path) -> None:
    named = {name for _, text in texts(root) for name in re.findall(r"`(\w+)=`", text)}
    assert {"cameras", "hw"} <= named
    known = set().union(*(options(kind) for kind in COMMANDS.values()))
    assert {name for name in named if (cli._OPTIONS.get(name) or name).replace("_", "-") not in known} == set()
