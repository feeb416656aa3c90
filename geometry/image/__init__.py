"""Images moved between cameras and compared: look-ups, resampling, warping, flow, epipolar geometry."""

from geometry.image.coercion import as_depth, as_depths, as_frames, as_image
from geometry.image.epipolar import (
    epipolar_lines,
    epipolar_mask,
    essential,
    fundamental,
    sampson_distance,
    symmetric_epipolar_distance,
    triangulate,
)
from geometry.image.flow import (
    flow_from_depth,
    forward_backward_visible,
    scene_flow_from_flow_and_depths,
    warp_by_flow,
)
from geometry.image.multiview import agreement
from geometry.image.resampling import resample, resampling_map, undistort
from geometry.image.sampling import sample_at
from geometry.image.soft_warping import soft_forward_warp
from geometry.image.structural_similarity import ssim
from geometry.image.warping import backward_visible, backward_warp, fill_nearest, forward_warp

__all__ = [
    "agreement",
    "as_depth",
    "as_depths",
    "as_frames",
    "as_image",
    "backward_visible",
    "backward_warp",
    "epipolar_lines",
    "epipolar_mask",
    "essential",
    "fill_nearest",
    "flow_from_depth",
    "forward_backward_visible",
    "forward_warp",
    "fundamental",
    "resample",
    "resampling_map",
    "sample_at",
    "sampson_distance",
    "scene_flow_from_flow_and_depths",
    "soft_forward_warp",
    "ssim",
    "symmetric_epipolar_distance",
    "triangulate",
    "undistort",
    "warp_by_flow",
]
