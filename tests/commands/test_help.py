"""The help of a command leads to the function that does its work."""

import re
from importlib import import_module

import pytest

from worldgen.cli import main
from worldgen.commands import COMMANDS

GROUPS = {"evaluate": ("orbit", "families", "captures"), "cameras": ("show", "convert")}
PLACES = [(name, part) for name in COMMANDS for part in GROUPS.get(name, ("",))]


@pytest.mark.parametrize(("command", "part"), PLACES)
def test_help_names_the_python_function_and_it_exists(
    command: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([word for word in (command, part, "--help") if word])
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    found = re.search(r"In Python: ([\w.]+)", text)
    assert stopped.value.code == 0 and found, text
    module, _, function = found[1].rstrip(".").rpartition(".")
    assert callable(getattr(import_module(module), function))
