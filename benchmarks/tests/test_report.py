"""A benchmark's report: what is printed, and that the file loses nothing."""

import json
from pathlib import Path

import pytest

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors, shown
from geometry.errors import InputError

COLUMNS = {"scene": "", "n": "", "PSNR dB": ".2f", "gain dB": "+.2f"}


@pytest.mark.parametrize(
    ("cell", "how", "text"),
    [("a", ".2f", "a"), (3, "", "3"), (3, ".2f", "3.00"), (2.345, ".2f", "2.35"), (None, ".2f", "–"),
     ({"mean": 1.0, "low": 0.5, "high": None}, "+.1f", "+1.0 [+0.5, –]"),
     ({"mean": None, "low": None, "high": None, "scenes": 0}, ".1f", "–"), (0.000012, ".1e", "1.2e-05")],
)  # fmt: skip
def test_a_cell_is_printed_by_its_columns_format(cell, how: str, text: str) -> None:
    assert shown(cell, how) == text


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "report.json"
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/things.py", "--scenes", "4", "--report", str(path), "a b"])
    gain = {"mean": 0.123456, "low": -0.1, "high": 0.4, "scenes": 4}
    table = Table.of(COLUMNS, [["0", 3, 28.123456, gain], ["1", 4, None, None]], "Things")
    report = Report.now("Things measured", [table], ["Read it so."])
    report.write(path)
    assert Report.read(path) == report
    assert report.command == "python -m benchmarks.things --scenes 4 'a b'"
    assert report.machine["cores"] and report.machine["torch"]
    data = json.loads(path.read_text("utf-8"))
    assert list(data) == ["title", "command", "date", "machine", "notes", "tables", "misses"]
    assert data["tables"][0]["rows"][0] == ["0", 3, 28.123456, gain]
    del data["tables"][0]["formats"]
    path.write_text(json.dumps(data), "utf-8")
    assert Report.read(path).tables[0].formats == ("",) * 4


def test_what_was_missed_is_printed_and_decides_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.of(COLUMNS, [["0", 3, 28.123456, {"mean": 0.1, "low": -0.1, "high": 0.4}]], "Things")
    assert publish(Report.now("", [table], ["Note."]), None) == 0
    out = capsys.readouterr().out
    assert "## Things" in out and "| 0 | 3 | 28.12 | +0.10 [-0.10, +0.40] |" in out and "Missed" not in out
    assert publish(Report.now("", [table], misses=["too slow"]), None) == 1
    assert "- too slow" in capsys.readouterr().out


def test_rows_that_do_not_fit_their_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="expected different columns"):
        Table.of(COLUMNS, [["0", 3]])
    with pytest.raises(ValueError, match="expected different columns"):
        Table("", ("a", "a"), ("", ""), ())


def test_bad_input_is_a_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    @reporting_errors
    def main() -> int:
        raise InputError("no model; expected one")

    assert main() == 2 and capsys.readouterr().err == "no model; expected one\n"
    assert command("What it does").parse_args(["--report", "x.json"]).report == Path("x.json")


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("benchmarks/orbit.py", "benchmarks.orbit"),
        ("benchmarks/files/photos.py", "benchmarks.files.photos"),
        ("benchmarks/files/__main__.py", "benchmarks.files"),
        ("benchmarks/benchmarks/splats.py", "benchmarks.splats"),
    ],
)
def test_a_report_names_the_command_it_comes_from(file: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [f"/somewhere/{file}", "--steps", "3", "--report", "out.json"])
    assert Report.now("", []).command == f"python -m {module} --steps 3"
