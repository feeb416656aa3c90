"""THE rule of outputs: what may be written where, and what an existing folder must be to be replaced.

An output is a new or empty folder. One that is not empty is replaced only on request, and only if worldgen made it:
its `manifest.json` says so (`holds`), and lists all files in it (`files`). One more file, and it is left as it is.
Never replaced is a folder that holds an input of the run, a home or the current directory.
"""

import json
import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from geometry.errors import InputError
from geometry.io.files import read_json, write_file
from geometry.io.temporaries import is_temporary
from worldgen.runtime.claim import LOCK

MANIFEST = "manifest.json"
_LEFT_BY_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_SHOWN = 3


def generator() -> str:
    """This package and its version."""
    return f"worldgen {version('worldgen')}"


def real(path: Path) -> Path:
    """The place that a path stands for: a link to a folder is that folder. Raises InputError where links run in circles
    or cannot be followed."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{str(path)!r}: not a usable name ({error}); expected that of a folder") from error


def check_place(path: Path, inputs: Iterable[Path | str], replaced: bool = True) -> None:
    """Raise InputError where no output may be.

    Args:
        path: The output's real place.
        inputs: Files and folders that the run reads; names of other things are passed over.
        replaced: Whether the folder is replaced as a whole, so that it must not be the current directory either.
    """
    places = [("is the root of the file system", Path(path.anchor))]
    places += [("is or holds a home directory", home) for home in _homes()]
    places += [("is or holds the current directory", Path.cwd())] if replaced else []
    for given in inputs:
        here = Path(os.path.abspath(given))  # noqa: PTH100 - the link itself, not what it points to
        if os.path.lexists(here):
            followed = here, _followed(here.parent) / here.name, _followed(here)
            places += [(f"is or holds the input {given}", place) for place in followed]
    for what, place in places:
        if path == place or path in place.parents:
            raise InputError(f"output {path} {what}; expected a folder of its own")


def _followed(path: Path) -> Path:
    """`path` with its links followed, as far as they lead somewhere."""
    return Path(os.path.realpath(path))


def _homes() -> Iterator[Path]:
    try:
        yield Path.home().resolve()
    except (RuntimeError, OSError):  # nobody's
        return


def check_parent(path: Path) -> None:
    """Raise InputError where nothing new can be made, or not by that name."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # the folder above says which
    except OSError as error:
        raise InputError(f"output {path.name[:40]}...: {error.strerror}; expected a name the disk can hold") from error
    parent = next(folder for folder in path.parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} can't be made: {parent} is not a directory one can write to")


def check_replaceable(path: Path, overwrite: bool, kind: str) -> None:
    """Raise InputError for a folder that is there and is not ours to replace.

    Args:
        path: Its real place.
        overwrite: Whether one that worldgen made may go.
        kind: What takes its place.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise InputError(f"{path} is not a directory; expected a new or empty folder")
    present = some(contents(path))
    if not present:
        return
    if not overwrite:
        raise InputError(f"{path} exists and is not empty; expected a new or empty folder, or overwrite")
    manifest = read_manifest(path)
    if manifest.get("holds") != kind or not isinstance(manifest.get("files"), list):
        what = f"no {MANIFEST} of a {kind} that worldgen made"
        raise InputError(f"{path} has {what}, but {present}; expected a new or empty folder: it is not replaced")
    own = {*map(str, manifest["files"]), MANIFEST}
    if foreign := some(name for name in contents(path) if name not in own):
        raise InputError(
            f"{path} has {foreign}, which worldgen did not write; expected only its own files: move yours away first, "
            "nothing was replaced"
        )


def contents(folder: Path) -> Iterator[str]:
    """What a folder holds, as it is found: files, links and empty folders below it, but for locks, temporary files and
    what file managers leave. Raises InputError for one that cannot be read."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{folder} can't be read ({error.strerror}); expected a folder of one's own") from error

    for at, folders, files in os.walk(folder, onerror=refuse):
        here = Path(at)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in links and not is_temporary(name))
        for name in sorted(name for name in [*files, *links] if not _passed_over(name)):
            yield (here / name).relative_to(folder).as_posix()
        if not folders and not files and not links and here != folder:
            yield here.relative_to(folder).as_posix() + "/"


def _passed_over(name: str) -> bool:
    return name in _LEFT_BY_FILE_MANAGERS or is_temporary(name) or (name.startswith(".") and name.endswith(LOCK))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that worldgen made, or nothing."""
    manifest = _manifest(folder)
    return manifest if str(manifest.get("generator", "")).startswith("worldgen ") else {}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_json(folder / MANIFEST, "a manifest")
    except InputError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def sign(folder: Path, kind: str, whole: bool = True) -> None:
    """Say in a folder's manifest that worldgen made it.

    Args:
        folder: The folder; what its manifest says already is kept.
        kind: What it holds.
        whole: Whether what it holds now is all there will be: then the manifest lists the files.
    """
    manifest = _manifest(folder) | {"generator": generator(), "holds": kind}
    if whole:
        manifest["files"] = sorted({*contents(folder), MANIFEST})
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_file(folder / MANIFEST, text.encode())


def some(names: Iterable[str]) -> str:
    """The first few of some names, for a message; "" of none."""
    first = list(islice(names, _SHOWN + 1))
    return ", ".join(first[:_SHOWN]) + (" and more" if len(first) > _SHOWN else "")
