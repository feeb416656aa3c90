"""3D Gaussians: the value, its projection, the readable torch reference, the fast path, fitting."""

from geometry.gaussians.harmonics import rotate_harmonics, spherical_harmonics
from geometry.gaussians.projection import Footprints, footprints
from geometry.gaussians.rendering import render_splats
from geometry.gaussians.splat_fitting import fit_splats
from geometry.gaussians.splats import Splats

__all__ = [
    "Footprints",
    "Splats",
    "fit_splats",
    "footprints",
    "render_splats",
    "rotate_harmonics",
    "spherical_harmonics",
]
