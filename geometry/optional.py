"""Whether optional libraries are installed, without loading them."""

import importlib.util
from functools import cache


@cache
def has_numba() -> bool:
    """Whether numba (the `[fast]` extra) is installed."""
    return importlib.util.find_spec("numba") is not None
