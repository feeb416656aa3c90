"""Reading and writing whole files: sizes checked before reading, never a half-written file."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geometry.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the place of `path` only when the block succeeds.

    The folder is made if it is missing. The temporary name keeps the suffix, which some libraries choose a format by.
    Raises InputError when the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); expected a writable place") from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write `data` as the whole content of `path`, atomically. Raises InputError when that is impossible."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_file(path: Path, expected: str, max_bytes: int = 2**40) -> None:
    """Raise InputError unless `path` is a file of 1 to `max_bytes` bytes; `expected` says what it should be."""
    try:
        exists, is_file = path.exists(), path.is_file()
        size = path.stat().st_size if is_file else 0
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r}: not a usable file name; expected {expected}") from error
    if not is_file:
        raise InputError(f"{path}: {'not a regular file' if exists else 'no such file'}; expected {expected}")
    if not size:
        raise InputError(f"{path}: empty file; expected {expected}")
    if size > max_bytes:
        raise InputError(f"{path}: {size} bytes; expected {expected} of at most {max_bytes} bytes")


def read_file(path: Path, expected: str, max_bytes: int) -> bytes:
    """The whole content of `path`. Raises InputError as `check_file` does, and for a file that cannot be read."""
    check_file(path, expected, max_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error


def read_json(path: Path, expected: str, max_bytes: int = 50_000_000) -> Any:
    """What the JSON file `path` holds. Raises InputError as `read_file` does, and for anything but JSON."""
    data = read_file(path, expected, max_bytes)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON; expected {expected}") from error
