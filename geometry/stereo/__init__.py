"""Depth and new views of a still scene from posed images, without learning: plane sweeps."""

from geometry.stereo.depth_range import nearest_depth
from geometry.stereo.smoothing import semi_global
from geometry.stereo.sweep import (
    SweepSettings,
    SweptView,
    inverse_depth_of,
    inverse_depth_planes,
    sweep_costs,
    sweep_view,
)
from geometry.stereo.warping import warp_at_inverse_depth

__all__ = [
    "SweepSettings",
    "SweptView",
    "inverse_depth_of",
    "inverse_depth_planes",
    "nearest_depth",
    "semi_global",
    "sweep_costs",
    "sweep_view",
    "warp_at_inverse_depth",
]
