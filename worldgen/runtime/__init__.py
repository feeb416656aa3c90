"""What every package needs and none is about: configurations, random streams, output folders, precision, threads."""

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
