"""What a run may do to a folder, and what it may say: the rules that hold for every command line."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.commands.random_lines import outputs_of
from tests.commands.zoo import FORMER
from worldgen.cli import main

Entry = tuple[str, int, int, bytes]
_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
_GROWING = {"old-run", "old-curation"}  # resumed in their places
_RESUMES = ("train", "train-codec", "curate")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    code  its exit code; 1 with a traceback, negative when killed
    """

    code: int
    out: str
    err: str


def snapshot(root: Path) -> dict[Path, Entry]:
    """All that is below a folder: kind, mode, time of the last change (of files) and content."""
    found: dict[Path, Entry] = {}
    for at, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(at, name)
            facts = path.lstat()
            if path.is_symlink():
                found[path] = ("link", 0, 0, os.fsencode(path.readlink()))
            elif path.is_dir():
                found[path] = ("folder", facts.st_mode, 0, b"")
            else:
                found[path] = ("file", facts.st_mode, facts.st_mtime_ns, path.read_bytes())
    return found


@contextlib.contextmanager
def at_home(root: Path) -> Iterator[None]:
    """Within a sandbox: its `work` is the current folder, and home and temporary files are in it."""
    before, temporary = Path.cwd(), tempfile.tempdir
    with mock.patch.dict(os.environ, {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}):
        tempfile.tempdir = str(root / "tmp")
        os.chdir(root / "work")
        try:
            yield
        finally:
            os.chdir(before)
            tempfile.tempdir = temporary


def copy(template: Path, root: Path) -> None:
    """A new sandbox."""
    shutil.copytree(template, root, symlinks=True)


def run_here(words: list[str], interrupt_at: int | None = None, root: Path | None = None) -> Outcome:
    """Run a command in this process, interrupted (SIGINT) before its n-th write below `root`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _WATCH.interrupting(interrupt_at, root):
        try:
            code = main(words)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
    return Outcome(code, out.getvalue(), err.getvalue())


def run_apart(words: list[str], root: Path, repository: Path, kind: signal.Signals, after_s: float) -> Outcome:
    """Run a command as users do, in a process of its own, and send it a signal some seconds after it has begun."""
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, at_home(root):
        environment |= {name: os.environ[name] for name in ("HOME", "TMPDIR")}
        command = [sys.executable, "-m", "worldgen.cli", *words]
        with subprocess.Popen(command, stdout=out, stderr=err, env=environment) as process:
            wait_until_it_has_begun(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
            process.send_signal(kind)
            code = process.wait(120)
        return Outcome(code, *(_text(stream) for stream in (out, err)))


def run_forked(words: list[str], root: Path, kind: signal.Signals, after_s: float) -> Outcome:
    """As `run_apart`, but with the libraries loaded: most moments are in the work itself."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, at_home(root):
        child = os.fork()
        if child == 0:
            try:
                os.dup2(err.fileno(), 2)
                ended = run_here(words)
                out.write(ended.out.encode(errors="replace"))
                err.write(ended.err.encode(errors="replace"))
                out.flush()
                err.flush()
                os._exit(ended.code)
            finally:
                os._exit(70)
        time.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, kind)
        _, status = os.waitpid(child, 0)
        return Outcome(os.waitstatus_to_exitcode(status), *(_text(stream) for stream in (out, err)))


def _text(stream: Any) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def wait_until_it_has_begun(process: "subprocess.Popen[Any]") -> None:
    """Until a command handles SIGTERM: before that the process is only Python's beginning."""
    status = Path(f"/proc/{process.pid}/status")
    while status.parent.parent.is_dir() and process.poll() is None:
        caught = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


class _Watch:
    """An audit hook, of which there can be only one: hooks stay."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.root = ""
        self.hooked = False

    @contextlib.contextmanager
    def interrupting(self, before_write: int | None, root: Path | None) -> Iterator[None]:
        if before_write is not None and not self.hooked:
            sys.addaudithook(self.hook)
            self.hooked = True
        self.left, self.root = before_write, str(root)
        try:
            yield
        finally:
            self.left = None

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left is None:
            return
        if event == "open":
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            writes = event in _WRITES
        if writes and self.root in str(arguments[0]):
            self.left -= 1
            if self.left < 0:
                self.left = None
                signal.raise_signal(signal.SIGINT)


_WATCH = _Watch()


def faults(words: list[str], before: dict[Path, Entry], ended: Outcome, root: Path) -> list[str]:
    """What is wrong with a run: of its exit code, of what it said, of what became of the files.

    A run that was killed (its code is negative) may leave debris, which is for the next start to sweep.
    """
    said = [] if ended.code < 0 else _said_wrong(ended)
    return [*said, *_done_wrong(words, before, ended, root)]


def debris(before: dict[Path, Entry], root: Path) -> list[Path]:
    """Hidden names that were not there before."""
    return [path for path in snapshot(root) if path not in before and path.name.startswith(".")]


def _said_wrong(ended: Outcome) -> Iterator[str]:
    if ended.code not in (0, 2, 130):
        yield f"exit code {ended.code}"
    if "Traceback" in ended.err + ended.out:
        yield "a traceback"
    lines = ended.err.splitlines()
    usage = any("For full helptext" in line for line in lines)  # the box of the library of options
    others = [line for line in lines if not usage or line[:1] not in " ╭│╰"]
    foreign = [line for line in others if not line.startswith("worldgen: ") or len(line) < 15]
    if foreign:
        yield f"said without our name: {foreign[0]!r}"
    final = [line for line in others if not line.startswith("worldgen: note: ")]
    if ended.code == 2 and len(final) != (0 if usage else 1):
        yield f"{len(final)} lines of error"
    if ended.code == 130 and final != ["worldgen: interrupted"]:
        yield f"interrupted, and said {final}"
    if ended.code == 0 and usage:
        yield "an error, and exit code 0"


def _done_wrong(words: list[str], before: dict[Path, Entry], ended: Outcome, root: Path) -> Iterator[str]:
    after = snapshot(root)
    outputs = _places(words, root / "work")
    resumes = words[:1] in [[name] for name in _RESUMES]
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new or (old is not None and new is not None and old[0] == new[0] == "folder" and old[1] == new[1]):
            continue
        name = path.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts) and path not in outputs
        if hidden and old is None:
            if ended.code >= 0:
                yield f"debris: {name}"
        elif not any(path == place or place in path.parents or path in place.parents for place in outputs):
            yield f"outside the output: {name} was {_change(old, new)}"
        elif old is not None and not _ours(name, words):
            yield f"not ours: {name} was {_change(old, new)}"
        elif ended.code == 130 and _whole(after, outputs):
            continue  # interrupted when the result was in its place
        elif ended.code > 0 and not resumes and "the result is kept in" not in ended.err:
            yield f"exit code {ended.code}, but {name} was {_change(old, new)}"
    if ended.code != 2:
        yield from _incomplete(after, before, outputs, resumes)


def _change(old: Entry | None, new: Entry | None) -> str:
    return "made" if old is None else "deleted" if new is None else "changed"


def _places(words: list[str], work: Path) -> list[Path]:
    """The real places of the outputs that a line names."""
    places = []
    for path in outputs_of(words):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            places += [(work / path).resolve(), Path(os.path.abspath(work / path))]  # noqa: PTH100 - a link itself
    return places


def _ours(name: Path, words: list[str]) -> bool:
    """Whether a file that was there could be replaced."""
    if words[:1] == ["cameras"]:
        return "--overwrite" in words
    top = name.parts[1] if len(name.parts) > 1 else ""
    if name.name in ("notes.txt", "letter.txt"):
        return False
    return top in _GROWING if words[:1] != ["orbit"] and words[:1] != ["scenes"] else top in FORMER


def _whole(after: dict[Path, Entry], outputs: list[Path]) -> bool:
    """Whether an output is there: a file, a folder with its manifest, or a COLMAP model."""
    return any(
        place in after
        and (after[place][0] == "file" or place / "manifest.json" in after or place / "images.bin" in after)
        for place in outputs
    )


def _incomplete(after: dict[Path, Entry], before: dict[Path, Entry], outputs: list[Path], grows: bool) -> Iterator[str]:
    """Outputs of a run that has ended well are whole."""
    for place in outputs:
        below = {path for path in after if place in path.parents and after[path][0] != "folder"}
        manifest = place / "manifest.json"
        if manifest not in below or after[manifest] == before.get(manifest):
            continue
        listed = json.loads(after[manifest][3]).get("files")
        if not grows and {str(path.relative_to(place)) for path in below} != set(listed or ()):
            yield f"{place.name}: its manifest lists {listed}, it holds {sorted(p.name for p in below)}"


def clear(folder: Path) -> None:
    """Remove a folder, whatever its modes."""
    shutil.rmtree(folder, ignore_errors=True)
