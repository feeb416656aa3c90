"""Libraries that are not always installed: asked for without loading them, and loaded when they are first needed."""

import importlib
import importlib.util
from functools import cache
from typing import Any

from geometry.errors import InputError


@cache
def has_numba() -> bool:
    """Whether numba (the `[fast]` extra) is installed."""
    return importlib.util.find_spec("numba") is not None


def load_optional(module: str, name: str, remedy: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: its full name.
        name: what the error calls the library.
        remedy: what the user can do where it is missing; for an extra of this package see `from_extra`.

    Raises:
        InputError: the module cannot be imported; one line that names the remedy.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise InputError(f"{name} cannot be loaded; expected {remedy}") from error


def from_extra(extra: str) -> str:
    """The remedy for a library that an extra of this package installs."""
    return f"pip install 'worldgen[{extra}]'"
