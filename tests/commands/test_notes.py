"""Notes of the library are one line each on the command line, and warnings of one category in Python."""

import warnings

import pytest

from geometry.errors import Note, note
from worldgen import cli


def test_the_command_line_prints_notes_in_one_line_and_other_warnings_as_usual(monkeypatch, capsys):
    def run(*_):
        note("3 images are missing:\n a.png")
        note("3 images are missing:\n a.png")
        with pytest.warns(RuntimeWarning):
            warnings.warn("of numpy", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main([]) == 0
    line = "worldgen: note: 3 images are missing: a.png\n"
    assert capsys.readouterr().err == line * 2


def test_a_note_is_a_warning_of_its_own_category():
    with pytest.warns(Note, match="2 points"):
        note("2 points are not finite and were left out")
