"""What a user meets first: help that comes at once and in its own terms, versions, mistakes with a hint, pipes."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import note
from geometry.io.formats import listed as formats
from geometry.io.formats import write_cameras
from geometry.trajectory.paths import orbit
from worldgen import cli
from worldgen.commands import COMMANDS, _options, _parts, parse, tables
from worldgen.sampling.solvers import SOLVERS
from worldgen.scenes.families.family import listed as families
from worldgen.weights import ABOUT

LINES = [[], *([name, *part] for name, kind in COMMANDS.items() for part in ([], *([p] for p in _parts(kind))))]
SINGLE = [line for line in LINES if line and not _parts(COMMANDS[line[0]])] + [line for line in LINES if line[1:]]
HELP = """
import sys, time
from worldgen.cli import main
lines = {lines}
for line in lines:
    try:
        main([*line, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, line
    assert "torch" not in sys.modules and "numpy" not in sys.modules, line
print("CPU", time.process_time())
"""


def helped(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command, in one line without frames."""
    with pytest.raises(SystemExit) as ended:
        parse([*line, "--help"])
    assert ended.value.code == 0
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_help_of_every_command_loads_no_torch_and_takes_a_blink() -> None:
    command = [sys.executable, "-c", HELP.format(lines=LINES)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.rpartition("CPU ")[2]) < 0.2 * len(LINES)


def test_help_says_what_the_embedded_weights_are_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped([], capsys).count(ABOUT) == 1


@pytest.mark.parametrize("line", SINGLE, ids=" ".join)
def test_help_of_a_command_is_in_its_own_terms(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(line, capsys)
    assert "{None}" not in text and "(default: None)" not in text and "(default: )" not in text, text
    assert not re.search(r"\(default: [^)]*\)\.? \(default", text) and "what options" not in text
    assert set(_options(_kind(line))) <= set(re.findall(r"--[\w.-]+", text)), "what is accepted is shown"
    assert set(re.findall(r"(?<![\w-])--[\w.-]*\w(?= |,|\]|$)", text)) <= {*_options(_kind(line)), "--models"}
    assert "--quiet" in text and ("-o " in text) == ("--output" in text)


def _kind(line: list[str]) -> type:
    kind = COMMANDS[line[0]]
    return _parts(kind)[line[1]] if line[1:] else kind


def test_images_of_an_orbit_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(["orbit"], capsys)
    assert "[OPTIONS] IMAGE [IMAGE ...] " in text and "--cameras names. (required)" in text


def test_tables_read_from_source_are_the_tables() -> None:
    assert tables.solvers() == ", ".join(SOLVERS) and tables.families() == families()
    assert tables.camera_formats() == formats("cameras")
    assert tables.camera_formats(written=True) == formats("cameras", written=True)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (["orbti", "a.png"], "orbit"),
        (["evaluate", "orbits"], "orbit"),
        (["cameras", "covert"], "convert"),
        (["orbit", "a.png", "--otput", "x"], "--output"),
        (["orbit", "a.png", "--otput=x"], "--output"),
        (["curate", "x", "-o", "y", "--limits.max-blurr", "1"], "--limits.max-blur"),
        (["train", "tiny", "--quite"], "--quiet"),
        (["evaluate", "orbit", "-o", "x", "--modles", "tiny"], "--models"),
    ],
)
def test_a_wrong_command_or_option_is_told_the_one_meant(
    line: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.count("\n") == 1 and f"did you mean {meant}?" in err


def test_a_word_like_no_command_is_told_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["xyzzy"])
    assert f"expected one of {', '.join(COMMANDS)}" in capsys.readouterr().err


@pytest.mark.parametrize("start", [["-m", "worldgen"], ["-m", "worldgen.cli"]])
def test_the_version_is_said_without_torch(start: list[str]) -> None:
    began = time.process_time()
    ended = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"worldgen \d+\.\d+\.\d+\n", ended.stdout) and time.process_time() - began < 5


@pytest.mark.parametrize("line", ["--help", "cameras show {file} --every 1"])
def test_a_reader_that_stops_gets_no_traceback(line: str, tmp_path: Path, root: Path) -> None:

    write_cameras(tmp_path / "path.json", Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 600), 50.0, (16, 16)))
    words = [sys.executable, "-m", "worldgen", *line.format(file=tmp_path / "path.json").split()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # before anything is written
        err = process.stderr.read()
        assert process.wait(timeout=120) == 141 and err == b""


def test_quiet_shows_no_notes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from worldgen.commands.plan import Plan

    monkeypatch.setattr(Plan, "run", lambda self: note("something was guessed"))
    assert cli.main(["plan", "tiny"]) == 0
    assert capsys.readouterr().err == "worldgen: note: something was guessed\n"
    assert cli.main(["plan", "tiny", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_completion_for_shells_knows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--tyro-print-completion", "bash"])
    out = capsys.readouterr().out
    assert not ended.value.code and all(name in out for name in COMMANDS)
