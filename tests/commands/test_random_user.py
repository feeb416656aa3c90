"""A random user: whatever is typed and whatever the files are, nothing is lost, and errors are one line."""

import contextlib
import io
import random
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.commands import zoo
from tests.commands.random_lines import damaged, line
from tests.commands.sandbox import Outcome, at_home, debris, faults, run_apart, run_forked, run_here, snapshot
from worldgen.commands import COMMANDS

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
SETTINGS = settings(phases=(Phase.generate,), suppress_health_check=SLOW)
KINDS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a user, of which each run gets a copy."""
    folder = tmp_path_factory.mktemp("template")
    with contextlib.redirect_stdout(io.StringIO()):
        zoo.build(folder / "work")
    return folder


def sandbox(template: Path, folder: Path, draw: random.Random) -> Path:
    """A copy of the user's files, some of them damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    for _ in range(draw.choice([0, 0, 1, 1, 2])):
        damaged(draw, folder / "work")
    return folder


def tried(template: Path, folder: Path, draw: random.Random, ends: list[int]) -> None:
    """One random run in this process; a third of them are interrupted before one of their writes."""
    root, words = sandbox(template, folder, draw), line(draw)
    interrupt = draw.randrange(40) if draw.randrange(3) == 0 else None
    with at_home(root):
        before = snapshot(root)
        ended = run_here(words, interrupt, root)
        ends.append(ended.code)
        assert not (found := faults(words, before, ended, root)), (words, interrupt, found, ended)


def killed(template: Path, folder: Path, draw: random.Random, repository: Path) -> Outcome:
    """One random run in a process of its own, with a signal at a random moment; after SIGKILL it is started again."""
    root, words, kind = sandbox(template, folder, draw), line(draw), draw.choice(KINDS)
    before = snapshot(root)
    if draw.randrange(4) == 0:
        ended = run_apart(words, root, repository, kind, draw.randrange(6000) / 1000)
    else:
        ended = run_forked(words, root, kind, draw.randrange(800) / 1000)
    assert not (found := faults(words, before, ended, root)), (words, kind, found, ended)
    if ended.code < 0:
        # SIGTERM ends a process that is still starting Python as it ends any other.
        assert ended.code in (-signal.SIGKILL, -signal.SIGTERM), (words, kind, ended)
        with at_home(root):
            again = run_here(words)
        killed_again = Outcome(-signal.SIGKILL, "", "")  # what is there may be of the first run
        found = [*faults(words, before, killed_again, root), *debris(before, root)]
        assert again.code in (0, 2) and not found, (words, kind, found, again)
    return ended


def test_every_command_is_typed() -> None:
    lines = [line(random.Random(n)) for n in range(300)]
    assert {words[0] for words in lines if words} >= set(COMMANDS)


@pytest.mark.usefixtures("unchecked")
def test_fifty_random_runs_keep_the_rules(template: Path, tmp_path: Path) -> None:
    ends: list[int] = []

    @settings(SETTINGS, max_examples=50)
    @given(st.randoms(use_true_random=False))
    def runs(draw: random.Random) -> None:
        tried(template, tmp_path / "box", draw, ends)

    runs()
    assert ends.count(0) >= 6 and ends.count(2) >= 6, ends


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("part", range(20))
def test_two_thousand_random_runs_keep_the_rules(template: Path, tmp_path: Path, part: int) -> None:
    ends: list[int] = []

    @seed(part)
    @settings(SETTINGS, max_examples=100, derandomize=False)
    @given(st.randoms(use_true_random=False))
    def runs(draw: random.Random) -> None:
        tried(template, tmp_path / "box", draw, ends)

    runs()
    print(f"part {part}: { ({code: ends.count(code) for code in sorted(set(ends))}) }")
    assert ends.count(0) >= 10 and ends.count(2) >= 10, ends


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("part", range(10))
def test_two_hundred_random_kills_keep_the_rules(template: Path, tmp_path: Path, root: Path, part: int) -> None:
    ends: list[int] = []

    @seed(part)
    @settings(SETTINGS, max_examples=20, derandomize=False)
    @given(st.randoms(use_true_random=False))
    def runs(draw: random.Random) -> None:
        ends.append(killed(template, tmp_path / "box", draw, root).code)

    runs()
    print(f"part {part}: { ({code: ends.count(code) for code in sorted(set(ends))}) }")
