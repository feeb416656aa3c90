"""All public names of the package, which `geometry` shows as its own."""

from geometry import camera, gaussians, image, mesh, points, rotation, stereo, trajectory
from geometry.camera import *
from geometry.conventions import (
    gltf_from_world,
    linear_from_srgb,
    opencv_from_opengl,
    srgb_from_linear,
    world_from_gltf,
)
from geometry.errors import InputError, Note
from geometry.gaussians import *
from geometry.image import *
from geometry.mesh import *
from geometry.points import *
from geometry.rotation import *
from geometry.similarity import Similarity, Transformable
from geometry.stereo import *
from geometry.trajectory import *

__all__ = [
    "InputError",
    "Note",
    "Similarity",
    "Transformable",
    "gltf_from_world",
    "linear_from_srgb",
    "opencv_from_opengl",
    "srgb_from_linear",
    "world_from_gltf",
]
__all__ += camera.__all__
__all__ += gaussians.__all__
__all__ += image.__all__
__all__ += mesh.__all__
__all__ += points.__all__
__all__ += rotation.__all__
__all__ += stereo.__all__
__all__ += trajectory.__all__
__all__.sort()  # pyright: ignore[reportUnsupportedDunderAll]
