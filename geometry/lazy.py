"""Packages whose names are loaded when they are first asked for: importing a small module of them costs little."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package's `__init__` calls for its names, which it imports itself for type checkers only:

        __getattr__, __dir__ = lazy(__name__, {"small": ["Small"], "large": ["Large", "make_large"]})

    Args:
        package: Its name.
        homes: By module of the package: the names that come from there. A module of another package by its full name.

    Returns:
        The package's `__getattr__` and `__dir__`.
    """
    modules = {name: module if "." in module else f"{package}.{module}" for module, ns in homes.items() for name in ns}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *modules})
