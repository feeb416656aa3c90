"""Tables of an evaluation go into a results page as they are; what people wrote there stays."""

import json
from pathlib import Path

import pytest

from benchmarks.shared.report import Report
from docs import evaluations

MARKDOWN = """# Orbit evaluation of `tiny`

Words | that are no table.

## Gain of one call

| spread | given | gain dB |
| --- | --- | --- |
| narrow | 1 | 4.70 [4.36, 5.02] |
| narrow | 2 | – |

![narrow](sheet-narrow.png)

## narrow: an arc

| given | method |
| --- | --- |
| 1 | one call |
"""
PAGE = {
    "title": "T", "command": "make demo", "date": "2020-01-01", "machine": {"processor": "P", "cores": 1},
    "notes": ["By hand."], "tables": [{"title": "old", "columns": ["a"], "rows": [["1"]]}], "misses": ["m"],
}  # fmt: skip


def test_a_page_takes_the_tables_and_keeps_the_words(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").write_text(MARKDOWN, "utf-8")
    page = tmp_path / "page.json"
    page.write_text(json.dumps(PAGE))
    monkeypatch.setattr("sys.argv", ["evaluations", str(tmp_path / "out"), str(page)])
    assert evaluations.main() == 0
    found = Report.read(page)
    assert (found.title, found.command, found.notes, found.misses) == ("T", "make demo", ("By hand.",), ("m",))
    assert found.date > "2026" and set(found.machine) == {"processor", "cores", "threads", "torch"}
    first, second = found.tables
    assert first.title == "Gain of one call" and first.columns == ("spread", "given", "gain dB")
    assert first.rows == (("narrow", "1", "4.70 [4.36, 5.02]"), ("narrow", "2", None))
    assert second.title == "narrow: an arc" and second.rows == (("1", "one call"),)


@pytest.mark.parametrize("text", [None, "# no tables\n"])
def test_what_is_no_evaluation_is_refused_and_the_page_stays(text, tmp_path: Path, monkeypatch, capsys) -> None:
    page = tmp_path / "page.json"
    page.write_text(json.dumps(PAGE))
    if text is not None:
        (tmp_path / "report.md").write_text(text)
    monkeypatch.setattr("sys.argv", ["evaluations", str(tmp_path), str(page)])
    assert evaluations.main() == 2
    assert "expected the report of an evaluation" in capsys.readouterr().err
    assert json.loads(page.read_text()) == PAGE
