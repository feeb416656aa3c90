"""Figures in the README and in tables are those of the report files, and their commands exist."""

import re
from pathlib import Path

import pytest

from benchmarks.shared.report import Report, shown
from docs.generate import result_files, results_page
from tests.docs.snippets import Snippet, check, commands
from worldgen.commands import COMMANDS

ROOT = Path(__file__).parents[2]
FILES = result_files(ROOT)
# The rows of the README's table: the label's beginning, then of each figure the report, its table, its row and column.
ORBIT = ("orbit", "medium: cameras within ±46°")
NARROW = "narrow: cameras within ±14°"
FOX = "fox-transforms: transforms.json of 25 images"
RESTORATION = ("restoration", "Gains over baselines")
FIGURES = {
    "new views of unseen tabletops": [
        (*ORBIT, {"given": "2", "method": "one call"}, "PSNR dB"),
        (*ORBIT, {"given": "2", "method": "plane sweep, soft"}, "PSNR dB"),
    ],
    "the same within": [
        ("orbit", NARROW, {"given": "4", "method": "one call"}, "PSNR dB"),
        ("orbit", NARROW, {"given": "4", "method": "plane sweep"}, "PSNR dB"),
    ],
    "a second stage that looks up": [
        ("fine_orbit", ORBIT[1], {"given": "2", "method": "one call"}, "PSNR dB"),
        ("fine_orbit", ORBIT[1], {"given": "2", "method": "plane sweep, soft"}, "PSNR dB"),
    ],
    "the second stage within": [
        ("fine_orbit", NARROW, {"given": "4", "method": "one call"}, "PSNR dB"),
        ("fine_orbit", NARROW, {"given": "4", "method": "plane sweep"}, "PSNR dB"),
    ],
    "a full sample within": [
        (*ORBIT, {"given": "2", "method": "full sample"}, "PSNR dB"),
        (*ORBIT, {"given": "2", "method": "forward warp (oracle)"}, "PSNR dB"),
    ],
    "relative error of the new views' depth": [
        (*ORBIT, {"given": "2", "method": "one call"}, "AbsRel"),
        (*ORBIT, {"given": "2", "method": "constant depth"}, "AbsRel"),
    ],
    "once round from one image": [
        ("demo", "23 generated views", {"images": "generated"}, "PSNR dB"),
        ("demo", "23 generated views", {"images": "the given image, copied"}, "PSNR dB"),
    ],
    "a full sample of those scenes in 4 calls": [
        ("student", "Student and teacher", {"method": "student, 4 steps"}, "PSNR dB"),
        ("student", "Student and teacher", {"method": "teacher, 20 steps, guided"}, "PSNR dB"),
    ],
    "a missing frame": [
        (*RESTORATION, {"task": "a missing frame", "baseline": "plane sweep"}, "restored dB"),
        (*RESTORATION, {"task": "a missing frame", "baseline": "plane sweep"}, "baseline dB"),
    ],
    "noise of 0.02": [
        (*RESTORATION, {"task": "denoising, 0.02", "baseline": "non-local means, best strength"}, "restored dB"),
        (*RESTORATION, {"task": "denoising, 0.02", "baseline": "non-local means, best strength"}, "baseline dB"),
    ],
    "a real capture": [
        ("captures", FOX, {"given": "8", "method": "one call"}, "PSNR dB"),
        ("captures", FOX, {"given": "8", "method": "plane sweep, soft"}, "PSNR dB"),
    ],
}


def figure(name: str, title: str, where: dict[str, str], column: str) -> str:
    """A figure of a report file, without its interval."""
    report = Report.read(ROOT / "docs" / "results" / f"{name}.json")
    (table,) = (table for table in report.tables if table.title == title)
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    (found,) = (row for row in rows if all(row[key] == value for key, value in where.items()))
    return shown(found[column], dict(zip(table.columns, table.formats))[column]).partition(" ")[0]


def test_every_figure_of_the_readme_is_that_of_its_report() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    start = lines.index("| task | this model | beside it | report |")
    end = lines.index("", start)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]
    assert len(rows) == len(FIGURES)
    for (label, *cells, link), (begins, figures) in zip(rows, FIGURES.items()):
        assert label.startswith(begins)
        for cell, (name, *where) in zip(cells, figures):
            assert f"docs/results/{name}.json" in link
            assert cell.split(" ")[0] == figure(name, *where), label


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_report_is_read_and_its_command_exists(path: Path) -> None:
    report = Report.read(path)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", report.date)
    assert report.machine["processor"] and report.title
    for words in commands(Snippet(path, 1, "bash", "", report.command)):
        check(words, ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_text_of_a_report_names_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in re.findall(r"`((?:geometry|worldgen|tests|configs|examples|docs|benchmarks)/[\w./]+)`", text):
        assert (ROOT / name).exists(), name
    for command in re.findall(r"`worldgen ([a-z-]+)", text):
        assert command in COMMANDS, command
    for line in re.findall(r"`((?:python -m|pytest) [^`]+)`", text):
        for words in commands(Snippet(path, 1, "bash", "", line.replace('\\"', '"'))):
            check(words, ROOT)


def test_a_report_becomes_a_page_with_its_command_tables_and_misses() -> None:
    table = {"title": "Rows", "columns": ["name", "dB"], "formats": ["", ".1f"], "rows": [["a", 1.25], ["b", None]]}
    data = {
        "title": "Things", "command": "make test", "date": "2026-01-01", "machine": {"processor": "P", "cores": 2},
        "notes": ["A note."], "tables": [table | {"notes": ["Of rows."]}], "misses": ["b"],
        "images": [{"file": "images/a.png", "caption": "A"}],
    }  # fmt: skip
    page = results_page(data)
    for part in (
        "# Things",
        "```bash\nmake test\n```",
        "P; cores 2",
        "A note.",
        "Of rows.",
        "| a | 1.2 |",
        "- b\n",
        "/images/a.png",
    ):
        assert part in page, part


@pytest.mark.parametrize(("card", "report"), [("tiny", "orbit"), ("tiny-4", "student"), ("vae", "codec")])
def test_every_figure_of_a_model_card_is_in_its_report(card: str, report: str) -> None:
    text = (ROOT / "worldgen" / "weights" / card / "README.md").read_text("utf-8")
    figures = re.findall(r"\d+\.\d+", text.partition("## Figures")[2].partition("\n## ")[0])
    stored = set(re.findall(r"\d+\.\d+", (ROOT / "docs" / "results" / f"{report}.json").read_text("utf-8")))
    assert figures
    assert [figure for figure in figures if figure not in stored] == []
