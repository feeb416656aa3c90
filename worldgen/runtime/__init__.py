"""What every package needs and none is about: configurations, random streams, output folders, precision, threads.

Names are loaded when they are first asked for: most of these modules cost no torch.
"""

from typing import TYPE_CHECKING

from geometry.lazy import lazy

if TYPE_CHECKING:
    from worldgen.runtime.atomic_dir import new_folder
    from worldgen.runtime.config import load, plain, to_yaml
    from worldgen.runtime.contact_sheet import depth_image, grid
    from worldgen.runtime.precision import computes_half
    from worldgen.runtime.rng import Stream, stream

__all__ = [
    "Stream",
    "computes_half",
    "depth_image",
    "grid",
    "load",
    "new_folder",
    "plain",
    "stream",
    "to_yaml",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "atomic_dir": ["new_folder"],
        "config": ["load", "plain", "to_yaml"],
        "contact_sheet": ["depth_image", "grid"],
        "precision": ["computes_half"],
        "rng": ["Stream", "stream"],
    },
)
