"""Outputs: folders that are either complete or not there, folders that grow and are resumed, and single files.

All three keep THE rule of outputs (`worldgen.runtime.ownership`), are claimed before the work begins, and sweep what
their own killed processes left.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from geometry.errors import InputError
from geometry.io.temporaries import abandoned, sweep, temporary_name
from worldgen.runtime.claim import claimed, lock_beside, lock_inside, uninterrupted
from worldgen.runtime.ownership import check_parent, check_place, check_replaceable, contents, real, sign, some


def check_output(path: Path, overwrite: bool, kind: str = "result", inputs: Sequence[Path | str] = ()) -> None:
    """Raise InputError early where `new_folder` would refuse a folder."""
    path = real(path)
    check_place(path, inputs)
    check_parent(path)
    check_replaceable(path, overwrite, kind)


@contextmanager
def new_folder(
    path: Path, overwrite: bool = False, kind: str = "result", inputs: Sequence[Path | str] = ()
) -> Iterator[Path]:
    """A temporary folder to fill; it takes the place of `path` when the block succeeds and is removed otherwise.

    A block that does all the work, not only the writing, has its output claimed meanwhile. The folder gets a
    `manifest.json` with the names of its files, or one that the block writes gets them.

    Args:
        path: Where the folder goes: a new or an empty one. Folders above it are made. A link stands for what it points
            to.
        overwrite: Replace a folder that is not empty, if worldgen made it as one of the same kind and nobody has put
            anything else into it.
        kind: What it holds, for the manifest.
        inputs: Files and folders that the run reads: none may be in the folder.

    Yields:
        The temporary folder, beside `path`.

    Raises:
        InputError: A folder that may not be replaced, another process that is writing it, or a place where none can be
            written. Where that turns out only at the end, the result is kept beside it, and the message says where.
    """
    path = real(path)
    check_place(path, inputs)
    check_parent(path)
    beside = temporary_name(path)
    with _made(path.parent), claimed(lock_beside(path), path):
        _recover(path)
        check_replaceable(path, overwrite, kind)
        try:
            beside.mkdir(0o700)
            inner = beside / "new"
            inner.mkdir()
            yield inner
            sign(inner, kind)
            with uninterrupted():
                _replace(path, beside, overwrite, kind)
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.filename is not None and beside not in Path(error.filename).parents:
                raise  # not of the output
            raise InputError(f"{path} can't be written ({error.strerror or error}); nothing was kept") from error
        finally:
            with uninterrupted():
                shutil.rmtree(beside, ignore_errors=True)


def _replace(path: Path, beside: Path, overwrite: bool, kind: str) -> None:
    """Move what is finished into place, or else beside it: it is never thrown away."""
    new, old = beside / "new", beside / "old"
    try:
        check_replaceable(path, overwrite, kind)
        if path.exists():
            path.rename(old)
        new.rename(path)
    except (InputError, OSError) as error:
        if old.exists() and not path.exists():
            old.rename(path)
        aside = next(p for n in count(2) if not os.path.lexists(p := path.with_name(f"{path.name}-{n}")))
        new.rename(aside)
        raise InputError(f"{error}; the result is kept in {aside}") from error


def _recover(path: Path) -> None:
    """Remove what killed runs left beside an output; one that was killed while it replaced the folder is completed."""
    for leftover in list(abandoned(path.parent, path)):
        for name in ("new", "old"):
            if (leftover / "old").is_dir() and (leftover / name).is_dir() and not path.exists():
                (leftover / name).rename(path)
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def resumable_folder(
    path: Path,
    is_own: Callable[[Path], bool],
    inputs: Sequence[Path | str] = (),
    kept: Sequence[Path | str] = (),
) -> Iterator[Path]:
    """A folder that grows in its place and that an interrupted run resumes, claimed during the block.

    Args:
        path: A new or empty folder, or one that `is_own`. A link stands for what it points to.
        is_own: Whether a folder is of such a run.
        inputs: Files and folders that the run reads: none may be in the folder.
        kept: Files that may be in it beforehand.

    Yields:
        The folder. One that was made for the block, and is empty at its end, is removed.

    Raises:
        InputError: A folder that holds something else, another process that is writing it, or a place where none can be
            written.
    """
    path = real(path)
    check_place(path, inputs, replaced=False)
    _check_resumable(path, is_own, kept)
    with _made(path), claimed(lock_inside(path), path):
        sweep(path)
        _check_resumable(path, is_own, kept)
        yield path


def _check_resumable(path: Path, is_own: Callable[[Path], bool], kept: Sequence[Path | str]) -> None:
    if not os.path.lexists(path):
        return check_parent(path)
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"output {path}: not a directory one can write to; expected a folder")
    inside = {real(Path(name)) for name in kept}
    present = some(name for name in contents(path) if real(path / name) not in inside)
    if present and not is_own(path):
        raise InputError(
            f"output {path} holds something else ({present}); expected a new or empty folder, or that of the same run"
        )


@contextmanager
def new_file(path: Path, overwrite: bool = False, inputs: Sequence[Path | str] = ()) -> Iterator[None]:
    """A claim on a single file, or on a folder that its writer refuses unless it is empty, during the block.

    Args:
        path: The file, which the block writes at once and whole.
        overwrite: Replace a file that is there; of a link only the link.
        inputs: Files and folders that the block reads: `path` must be none of them.

    Raises:
        InputError: A file that is there, or is an input, or is being written by another process.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - a link is replaced, not followed
    check_place(path, inputs, replaced=False)
    check_place(real(path), inputs, replaced=False)
    check_parent(path)
    with _made(path.parent), claimed(lock_beside(path), path):
        sweep(path.parent, path)
        if os.path.lexists(path) and not path.is_dir() and not overwrite:
            raise InputError(f"{path} exists; expected the name of a new file, or overwrite")
        yield


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; what was made and is empty at the end is removed."""
    missing = [f for f in (folder, *folder.parents) if not os.path.lexists(f)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} can't be made ({error.strerror}); expected a place one can write to") from error
        yield
    finally:
        for made in missing:
            try:
                made.rmdir()
            except FileNotFoundError:  # interrupted before it was made
                continue
            except OSError:
                break
