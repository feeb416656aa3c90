"""How the renderer's functions are compiled: the decorators of everything beside this file."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba

from geometry.compiling import compiled

_OPTIONS = {
    "nogil": True,
    "_nrt": False,  # nothing is allocated inside: reference counting would keep loops from being vectorized
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "arcp"},  # infinities and NaN must stay what they are
}
# Compiled again with each caller, and never called from Python: wrappers for that would double the time.
_INNER = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel = numba.njit(**_INNER)  # type: ignore[call-overload]
inlined = numba.njit(forceinline=True, **_INNER)  # type: ignore[call-overload]
spliced = numba.njit(inline="always", **_INNER)  # type: ignore[call-overload]  # what it calls is compiled only once


def entry(*sources: ModuleType) -> Callable[[Any], Any]:
    """The decorator of a function that Python calls: kept on disk until its file or one of the sources changes."""
    return compiled(*sources, **_OPTIONS)
