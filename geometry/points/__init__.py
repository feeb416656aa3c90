"""Point clouds: made from depth, fused, compared."""

from geometry.points.fusion import fuse_points
from geometry.points.neighbors import (
    CloudDistance,
    cloud_distance,
    estimate_normals,
    nearest_neighbors,
    radius_outliers,
    statistical_outliers,
)
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample

__all__ = [
    "CloudDistance",
    "PointCloud",
    "cloud_distance",
    "estimate_normals",
    "fuse_points",
    "nearest_neighbors",
    "points_from_depth",
    "radius_outliers",
    "statistical_outliers",
    "voxel_downsample",
]
