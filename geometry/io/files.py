"""Whole files: sizes are checked before reading, and no half-written file is ever left behind."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geometry.errors import InputError
from geometry.io.temporaries import create, put, temporary_name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` only when the block succeeds.

    The folder is created if it is missing. The temporary file is there, empty, under a name that cannot be guessed,
    which keeps the suffix (some libraries choose a format by it). The file's mode is that of any new file, whatever the
    library in between chooses. A link at `path` is replaced; what it points to is left alone. Raises InputError when
    the folder or the file cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = create(temporary)
        yield temporary
        put(temporary, mode, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); expected a writable place") from error
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write `data` as the whole content of `path`, atomically. Raises InputError when that is impossible."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, by name, to a new or empty folder, which appears only when it is complete.

    Raises InputError for a folder that is not empty or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: not empty; expected a new or empty folder")
    beside = temporary_name(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        for name, data in files.items():
            (beside / name).write_bytes(data)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); expected a writable place") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON values, finite numbers only, indented. Raises InputError as `write_file` does."""
    write_file(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def exact_line(numbers: Iterable[float | int]) -> str:
    """Numbers with a space between them, in as many digits as it takes to read them back unchanged."""
    return " ".join(f"{value:.17g}" for value in numbers)


def exists(path: Path, expected: str) -> bool:
    """Whether there is such a file or folder. Raises InputError for a name that none can have."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r}: not a usable file name; expected {expected}") from error


def check_file(path: Path, expected: str, max_bytes: int = 2**40) -> None:
    """Raise InputError unless `path` is a file of 1 to `max_bytes` bytes; `expected` says what it should be."""
    there, is_file = exists(path, expected), path.is_file()
    if not is_file:
        raise InputError(f"{path}: {'not a regular file' if there else 'no such file'}; expected {expected}")
    if not (size := path.stat().st_size):
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
    """The value of a JSON file. Raises InputError as `read_file` does, and for anything but JSON."""
    data = read_file(path, expected, max_bytes)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON; expected {expected}") from error
