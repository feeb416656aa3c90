"""One bar of all the work on a terminal, lines elsewhere, and functions of the caller's."""

import io

import pytest

from tests.runtime.told import Told
from worldgen.runtime import progress
from worldgen.runtime.progress import Bar, Work, shown


class Terminal(io.StringIO):
    """A text that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_stages_are_parts_of_one_whole() -> None:
    told: Told = []
    work = Work(lambda *at: told.append(at), {"reading": 1, "sampling": 8, "writing": 1})
    work.begin("reading")
    step = work.counter("sampling", 4)
    for _ in range(4):
        step()
    work.part("writing")(0.5, "mesh.glb")
    assert told[0] == (0, "reading") and told[1] == (0.1, "sampling")
    assert told[2] == (pytest.approx(0.3), "sampling 1/4") and told[5] == (pytest.approx(0.9), "sampling 4/4")
    assert told[6] == (pytest.approx(0.95), "mesh.glb")


def test_work_within_work_reports_to_its_part() -> None:
    told: Told = []
    outer = Work(lambda *at: told.append(at), {"loading": 1, "generating": 3})
    with shown(outer.part("generating")) as report:
        Work(report, {"reading": 1, "sampling": 1}).begin("sampling")
    assert told == [(pytest.approx(0.25 + 0.75 / 2), "sampling")]


def test_lines_come_every_few_seconds_and_rarer_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    with Bar() as bar:
        for second in range(2000):
            clock[0] = float(second)
            bar(second / 4000, "sampling")
    lines = file.getvalue().splitlines()
    assert lines[2] == "worldgen: 0%, sampling, 0:15 passed"
    assert lines[19] == "worldgen: 2%, sampling, 1:40 passed, about 1:05:00 left" and 70 < len(lines) < 90


def test_a_terminal_shows_the_stage_and_the_share_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    with Bar() as bar:
        assert "0% |" in file.getvalue()
        assert bar.bar is not None
        bar.bar.mininterval = 0.0
        bar(0.25, "reading")
        bar(0.5, "sampling 3/12")
        assert bar.bar.n == 0.5
    assert "25% |" in file.getvalue() and "sampling 3/12" in file.getvalue()


def test_what_progress_means(capsys: pytest.CaptureFixture[str]) -> None:
    told: Told = []
    with shown(lambda *at: told.append(at)) as report:
        report(1, "done")
    with shown(False) as report:
        report(1, "done")
    assert told == [(1, "done")] and isinstance(shown(True), Bar) and capsys.readouterr().err == ""


def test_a_reader_of_lines_that_has_gone_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr", Closed())
    with Bar() as bar:
        bar(0.5, "sampling")
