"""Libraries that are not always installed: loaded when first needed, with what to install where they are missing."""

import importlib
import importlib.util
from functools import cache
from typing import Any

from geometry.errors import InputError


def load_optional(module: str, name: str, remedy: str) -> Any:
    """A module of a library called `name`. Raises InputError, which ends with the remedy, where it cannot be loaded."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise InputError(f"{name} cannot be loaded; expected {remedy}") from error


@cache
def has_numba() -> bool:
    """Whether numba (the `[fast]` extra) is installed."""
    return importlib.util.find_spec("numba") is not None
