"""Output folders that are either complete or not there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geometry.errors import InputError


def check_output(path: Path, overwrite: bool) -> None:
    """Raise InputError early where a folder could not be written at the end."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; expected a new folder, or --overwrite")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is not a directory; expected a new folder")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} can't be made: {parent} is not a directory one can write to")


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to fill; it takes the place of `path` when the block succeeds and is removed otherwise.

    Args:
        path: Where the folder goes. Folders above it are made.
        overwrite: Replace a folder that is there.

    Yields:
        The temporary folder, beside `path`.

    Raises:
        InputError: A folder that exists (without `overwrite`), or a place where none can be written.
    """
    check_output(path, overwrite)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    except OSError as error:
        raise InputError(f"{path} can't be made ({error.strerror}); expected a place one can write to") from error
    try:
        beside.chmod(0o755)
        inner = beside / "new"
        inner.mkdir()
        yield inner
        if path.exists():
            path.replace(beside / "old")
        inner.replace(path)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error}); nothing was kept") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
