"""Claims: who is writing an output. A second run into the same place is told so before it has done any work."""

import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geometry.errors import InputError
from geometry.io.temporaries import alive, host, shortened, started

LOCK = "worldgen-lock"
_LONGEST_COMMAND = 200


def lock_beside(path: Path) -> Path:
    """The lock of an output that is replaced as a whole: beside it."""
    return path.with_name(f".{shortened(path.name)}.{LOCK}")


def lock_inside(folder: Path) -> Path:
    """The lock of a folder that grows in its place: in it, since nothing beside it may be ours to write."""
    return folder / f".{LOCK}"


@contextmanager
def claimed(lock: Path, output: Path) -> Iterator[None]:
    """Hold the claim on an output during the block.

    The operating system drops a claim with its process, however that ends; the file it leaves then is taken over by the
    next. The file is locked (flock), and says whose it is.

    Args:
        lock: The file of the claim (`lock_beside`, `lock_inside`).
        output: What is claimed, for the error.

    Raises:
        InputError: Another process holds it, which the message names; or the file cannot be made.
    """
    handle = None
    try:
        with uninterrupted():  # what is put off comes at the end of the block, when the claim is held
            handle = _acquired(lock, output)
        yield
    finally:
        if handle is not None:
            with uninterrupted():
                lock.unlink(missing_ok=True)
                os.close(handle)


def _acquired(lock: Path, output: Path) -> int:
    try:
        while True:
            _take_over(lock, output)
            try:
                handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o666)
            except FileExistsError:
                continue
            if _locked(handle) is not False and _still_there(handle, lock):
                os.write(handle, json.dumps(_own_claim()).encode())
                return handle
            os.close(handle)
    except OSError as error:
        raise InputError(f"{output} can't be claimed ({error.strerror}); expected a place one can write to") from error


_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _take_over(lock: Path, output: Path) -> None:
    """Remove a lock whose owner is gone. Raises InputError when it is not gone, or the file is not a lock."""
    try:
        handle = os.open(lock, os.O_RDWR | _PLAIN)
    except FileNotFoundError:
        return
    try:
        facts = os.fstat(handle)
        claim = _read(handle)
        if claim is None or not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            raise InputError(f"{lock} is not a lock that worldgen wrote; expected no such file: move it away")
        locked = _locked(handle)
        if locked is None:  # a file system without locks
            locked = claim.get("host_digest") == host() and not alive(claim["pid"], claim["start"]) if claim else True
        if not locked:
            raise InputError(_busy(claim, lock, output))
        if _still_there(handle, lock):
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool | None:
    """Whether the file is locked by us now; None where files cannot be locked."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _still_there(handle: int, lock: Path) -> bool:
    """Whether the name is still that of the open file."""
    try:
        named = lock.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), named)


def _own_claim() -> dict[str, Any]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_LONGEST_COMMAND]
    return {
        "worldgen": "claim", "pid": os.getpid(), "start": started(os.getpid()), "host": socket.gethostname(),
        "host_digest": host(), "command": command, "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }  # fmt: skip


def _read(handle: int) -> dict[str, Any] | None:
    """What a lock says; nothing where its owner has not written it yet; None for a file that is not a lock."""
    data = os.pread(handle, 65536, 0)
    if not data:
        return {}
    try:
        claim = json.loads(data)
        return claim if claim["worldgen"] == "claim" and claim["pid"] + claim["start"] > 0 else None
    except (ValueError, TypeError, KeyError):
        return None


def _busy(claim: dict[str, Any], lock: Path, output: Path) -> str:
    who = "another process"
    if claim:
        who = f"process {claim['pid']} on {claim.get('host')} since {claim.get('since')} ({claim.get('command')})"
    return f"{output} is being written by {who}; expected another output, or to wait until it ends (its lock: {lock})"


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM to the end of the block, which should be short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) is not None]
    before = {kind: signal.signal(kind, lambda number, _: asked.append(number)) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        for kind in asked:
            signal.raise_signal(kind)
