"""Killing a command before any of its writes, or at any moment, as SIGKILL does."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldgen.cli import main

_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}


def command(*line: object, code: int = 0) -> Callable[[], None]:
    """A command that must end with a code."""

    def run() -> None:
        assert main([str(word) for word in line]) == code

    return run


def killed(
    work: Callable[[], None],
    folder: Path,
    before_write: int | None = None,
    after_s: float = 0.0,
    count: Path | None = None,
) -> bool:
    """Work in a process of its own, killed before its n-th write below a folder (from 0), or after some seconds.

    Returns whether it was killed; otherwise it has ended well before, and its writes are counted in the file `count`.
    The process is forked, so that libraries need not be loaded again.
    """
    child = os.fork()
    if child == 0:
        _work(work, folder, before_write, count)
    if before_write is None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return True
    assert os.WEXITSTATUS(status) == 0, f"{work} ended with {os.WEXITSTATUS(status)}"
    return False


def _work(work: Callable[[], None], folder: Path, before_write: int | None, count: Path | None) -> None:
    code, done = 1, 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event == "open":
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            writes = event in _WRITES
        if writes and str(folder) in str(arguments[0]):
            if done == before_write:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

    try:
        with Path(os.devnull).open("w") as nowhere:
            for stream in (1, 2):
                os.dup2(nowhere.fileno(), stream)
            sys.stdout = sys.stderr = nowhere
            sys.addaudithook(watch)
            work()
        if count is not None:
            count.write_text(str(done))
        code = 0
    finally:
        os._exit(code)


def debris(folder: Path) -> list[str]:
    """Hidden names below a folder: locks and temporary files."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]
