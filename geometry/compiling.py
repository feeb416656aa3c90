"""Functions that numba compiles and keeps on disk until a source that they are made from changes."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


def compiled(*sources: ModuleType, **options: Any) -> Callable[[Any], Any]:
    """Compile a function with `numba.njit` and keep the machine code on disk, for the next start.

    Numba by itself notices a change of the function's own file alone, not of those that its callees and constants come
    from, and leaves files behind whenever the function moves within its file. Here all sources count, and a function
    has one index, whose files are written over when it is out of date.

    Args:
        sources: the modules that the function is made from, beside its own.
        options: those of `numba.njit`.

    Returns:
        The decorator. Where no folder can be written, functions are compiled anew at every start.
    """

    def decorate(function: Any) -> Any:
        from numba import njit

        made = njit(**options)(function)
        if not isinstance(made, FunctionType):  # as it is where numba is told not to compile
            _keep(made, function, sources)
        return made

    return decorate


def source_digest(*files: Path) -> str:
    """A digest of what is in the files."""
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def _keep(made: Any, function: Any, sources: tuple[ModuleType, ...]) -> None:
    from numba.core.caching import IndexDataCacheFile

    try:
        made.enable_caching()
    except RuntimeError:  # no folder that can be written
        return
    tag = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    name = f"{function.__module__}.{function.__qualname__}.{tag}"
    stamp = source_digest(Path(function.__code__.co_filename), *(Path(str(module.__file__)) for module in sources))
    made._cache._cache_file = IndexDataCacheFile(made._cache.cache_path, name, stamp)
