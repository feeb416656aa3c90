"""Cameras and 3D values as frozen types and pure functions, in one convention (`geometry.conventions`).

    from geometry import Cameras, plucker, render_mesh

All public names of the packages below are here too. The first of them that is asked for loads them all, and torch and
numpy; other libraries are loaded by the functions that need them. Files are read and written by the modules of
`geometry.io`; values of other libraries come from and go to `geometry.interop`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geometry.public import *
    from geometry.public import __all__ as __all__


def __getattr__(name: str) -> Any:
    """A public name, `__all__`, or a package: small modules, such as `geometry.errors`, cost no torch."""
    if name == "__all__" or not name.startswith("_"):
        public = import_module("geometry.public")
        if name in ("__all__", *getattr(public, "__all__", ())):  # none yet while it is being loaded
            globals()[name] = getattr(public, name)
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("geometry.public").__all__})
