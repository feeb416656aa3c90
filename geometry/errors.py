"""The one error type for bad input, so that callers can tell a user's mistake from a bug of ours."""

import importlib
from typing import Any


class InputError(ValueError):
    """Bad input from outside: the message says what was seen and what was expected, in one line."""


def optional(module: str, name: str, remedy: str) -> Any:
    """A module of a library that is not always there. Raises InputError where it cannot be loaded, with the remedy."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise InputError(f"{name} cannot be loaded; expected {remedy}") from error
