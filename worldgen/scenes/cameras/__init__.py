"""Cameras for scenes.

sampling       camera styles, and the choice among them
viewpoints     rings and arcs about a table
random_lenses  lenses other than pinholes
"""

from worldgen.scenes.cameras.random_lenses import with_lenses
from worldgen.scenes.cameras.sampling import (
    CameraStyle,
    ClipSpec,
    Site,
    aim,
    arc,
    clear_of,
    dolly,
    fan,
    inward,
    sample_cameras,
    tripod,
)
from worldgen.scenes.cameras.viewpoints import arcs, ring

__all__ = [
    "CameraStyle", "ClipSpec", "Site", "aim", "arc", "arcs", "clear_of", "dolly", "fan", "inward", "ring",
    "sample_cameras", "tripod", "with_lenses",
]  # fmt: skip
