"""The table of threads: one row for each case and load, and a miss where bytes differ."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import threads
from benchmarks.shared.report import Report
from geometry.errors import InputError
from worldgen.runtime.threads import Threads


@pytest.fixture
def faked(monkeypatch) -> list[tuple[str, int, int]]:
    """Measurements that take no time: a thread more is slower where others are busy."""
    beside, measurements = [0], []

    class Busy:
        def __init__(self, count: int):
            beside[0] = count

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def measured(case: str, count: int, steps: int) -> tuple[float, str]:
        measurements.append((case, count, beside[0]))
        return (count if beside[0] else 1 / count), f"{case} {count}"

    monkeypatch.setattr(threads, "busy", Busy)
    monkeypatch.setattr(threads, "measured", measured)
    monkeypatch.setattr(threads, "choose", lambda system: Threads(1 if beside[0] else 2, ""))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return measurements


def test_a_row_for_each_case_and_load_with_what_would_be_chosen(faked, monkeypatch, tmp_path: Path, capsys) -> None:
    file = tmp_path / "threads.json"
    monkeypatch.setattr("sys.argv", ["threads.py", "--busy", "0", "6", "--report", str(file)])
    assert threads.main() == 0
    (table,) = Report.read(file).tables
    assert table.columns[2:4] == ("1 thread, s", "2 threads, s")
    assert [row[:2] for row in table.rows] == [(case, load) for case in threads.CASES for load in (0, 6)]
    assert {row[1:] for row in table.rows} == {(0, 1.0, 0.5, 2), (6, 1, 2, 1)}
    assert len(faked) == 12 and "convolutional codec" in capsys.readouterr().out


def test_other_bytes_at_the_same_number_of_threads_are_a_miss(faked, monkeypatch, capsys) -> None:
    results = iter("abcdefgh")
    monkeypatch.setattr(threads, "measured", lambda case, count, steps: (1.0, next(results)))
    monkeypatch.setattr("sys.argv", ["threads.py", "--busy", "0", "1", "--cases", "sampling of tiny"])
    assert threads.main() == 1 and "2 different results" in capsys.readouterr().out


def test_impossible_options_are_refused(faked, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["threads.py", "--busy", "-1"])
    assert threads.main() == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", threads.CASES)
def test_every_case_runs_and_is_the_same_again(case: str) -> None:
    seconds, found = threads.CASES[case](2)
    assert len(seconds) == 2 and min(seconds) > 0 and threads.CASES[case](2)[1] == found


def test_a_measurement_is_made_in_a_process_of_its_own_or_fails_in_one_line(monkeypatch) -> None:
    class Done:
        returncode, stderr = 0, ""
        stdout = "noise\n" + json.dumps({"seconds": [9.0, 1.0, 3.0, 2.0], "digest": "d"})

    monkeypatch.setattr(threads.subprocess, "run", lambda *_, **__: Done)
    assert threads.measured("sampling of tiny", 2, 3) == (2.0, "d")
    Done.returncode, Done.stderr = 1, "Traceback\nValueError: no"
    with pytest.raises(InputError, match="2 threads failed: ValueError: no"):
        threads.measured("sampling of tiny", 2, 3)
