"""Temporary files and folders beside what they become: no one can guess their names, and no one else's is like them.

A name says which process made it, so that what a killed one left can be told from what a running one is writing:
`.NAME.worldgen-HOST-PID-START-RANDOM.SUFFIX`.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

_MARK = ".worldgen-"
_NAME = re.compile(
    re.escape(_MARK) + r"(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<start>\d{1,20})-[0-9a-f]{16}(\.[^.]{1,20})?\Z"
)
_LONGEST = 100  # bytes of a name that is kept as it is: with the mark it must stay below 255


def shortened(name: str) -> str:
    """A name that can be made longer: itself, or its beginning and a digest."""
    if len(name.encode(errors="surrogateescape")) <= _LONGEST:
        return name
    return f"{name[:20]}~{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that nobody can guess; it keeps the suffix: some libraries choose a format by it."""
    owner = f"{host()}-{os.getpid()}-{started(os.getpid())}"
    suffix = path.suffix if len(path.suffix.encode(errors="surrogateescape")) <= 20 else ""
    return path.with_name(f"{_prefix(path)}{owner}-{secrets.token_hex(8)}{suffix}")


def _prefix(path: Path) -> str:
    return f".{shortened(path.stem)}{_MARK}"


def create(temporary: Path) -> int:
    """Make an empty file that was not there, never through a link. Returns its mode, which the umask decides."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def put(temporary: Path, mode: int, path: Path) -> None:
    """Move a file into the place of `path`, with a mode: libraries that make the file anew choose their own."""
    if not stat.S_ISREG(temporary.lstat().st_mode):
        raise OSError(errno.ELOOP, "its temporary file was replaced by something else")
    temporary.chmod(mode)
    temporary.replace(path)


def host() -> str:
    """A digest of this machine's name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def started(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 where that is not known. Numbers are used again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def alive(pid: int, start: int) -> bool:
    """Whether the process of this machine that began then is still there; when in doubt, it is."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    now = started(pid)
    return not (start and now) or start == now


def is_temporary(name: str) -> bool:
    """Whether a name is of the form that `temporary_name` gives."""
    return name.startswith(".") and _NAME.search(name) is not None


def abandoned(folder: Path, target: Path | None = None) -> Iterator[Path]:
    """The temporary files and folders in a folder that processes of this machine and user left when they were killed.

    Args:
        folder: where to look; not in the folders in it.
        target: only those that were to become this one.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        named = _NAME.search(entry.name) if entry.name.startswith(".") else None
        if named is None or (target is not None and entry.name[: named.start()] + _MARK != _prefix(target)):
            continue
        facts = entry.stat(follow_symlinks=False)
        plain = stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)
        own = not hasattr(os, "geteuid") or facts.st_uid == os.geteuid()
        here = named["host"] == host()
        if plain and own and here and not alive(int(named["pid"]), int(named["start"])):
            yield Path(entry.path)


def sweep(folder: Path, target: Path | None = None) -> None:
    """Remove what is `abandoned` in a folder; without a target also in the folders in it, but never through links."""
    for leftover in list(abandoned(folder, target)):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    if target is None:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                sweep(Path(entry.path))
