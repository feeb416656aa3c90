"""What numba keeps on disk has to be compiled anew when any of its sources changes."""

from pathlib import Path
from types import ModuleType
from zlib import crc32


def source_digest(*modules: ModuleType) -> int:
    """A number for the sources of modules, 0 or more.

    Numba stores a compiled function beside its file and compares that one file's time stamp, not those of the modules
    that its callees and constants come from. A function that closes over this number is compiled again when any of
    them has changed.
    """
    return crc32(b"".join(Path(str(module.__file__)).read_bytes() for module in modules))
