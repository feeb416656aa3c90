"""Cameras and 3D values as frozen types and pure functions, in one convention (`geometry/conventions.py`).

Importing this loads torch and numpy only. Files are read and written by the modules of `geometry.io`; other libraries
sit behind `geometry.interop`.
"""

from geometry.camera.cameras import Cameras
from geometry.camera.conversion import (
    CONVENTIONS,
    cameras_from,
    cameras_from_colmap,
    cameras_from_pytorch3d,
    cameras_from_realestate10k,
    cameras_from_unreal,
    cameras_to,
    cameras_to_colmap,
    cameras_to_pytorch3d,
    cameras_to_realestate10k,
    cameras_to_unreal,
    fov_deg,
)
from geometry.camera.lens_models import distort
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project, unproject
from geometry.camera.rays import lens_mask, plucker, plucker_of, ray_map
from geometry.camera.rigs import Rig, RigCamera
from geometry.camera.rolling_shutter import RollingShutter, rolling_project, rolling_ray_map
from geometry.conventions import (
    gltf_from_world,
    linear_from_srgb,
    opencv_from_opengl,
    srgb_from_linear,
    world_from_gltf,
)
from geometry.errors import InputError
from geometry.gaussians.harmonics import rotate_harmonics, spherical_harmonics
from geometry.gaussians.projection import Footprints, footprints
from geometry.gaussians.rendering import render_splats
from geometry.gaussians.splat_fitting import fit_splats
from geometry.gaussians.splats import Splats
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
from geometry.image.resampling import resample, resampling_map, undistort
from geometry.image.soft_warping import soft_forward_warp
from geometry.image.structural_similarity import ssim
from geometry.image.warping import backward_visible, backward_warp, fill_nearest, forward_warp
from geometry.mesh.meshes import Mesh, TexturedMesh, largest_components, surface_points, vertex_normals
from geometry.mesh.rasterizing import Raster, interpolate, rasterize, render_mesh, shade
from geometry.mesh.simplifying import simplify
from geometry.mesh.soft_rasterizing import soft_render_mesh, soft_silhouette
from geometry.mesh.texturing import bake, render_textured, unwrap
from geometry.mesh.tsdf import fuse_tsdf
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
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix, slerp
from geometry.rotation.representations import (
    axis_angle_from_matrix,
    euler_from_matrix,
    matrix_from_6d,
    matrix_from_axis_angle,
    matrix_from_euler,
    se3_exp,
    se3_log,
    six_d_from_matrix,
)
from geometry.rotation.transforms import invert_rigid, look_at, rigid, rotation_about, transform_points
from geometry.similarity import Similarity
from geometry.trajectory.checks import describe, lint
from geometry.trajectory.metrics import ate, rpe, trajectory_errors
from geometry.trajectory.paths import nearest_point_to_axes, orbit

__all__ = [
    "CONVENTIONS",
    "Cameras",
    "CloudDistance",
    "Footprints",
    "InputError",
    "Lens",
    "LensKind",
    "Mesh",
    "PointCloud",
    "Raster",
    "Rig",
    "RigCamera",
    "RollingShutter",
    "Similarity",
    "Splats",
    "TexturedMesh",
    "ate",
    "axis_angle_from_matrix",
    "backward_visible",
    "backward_warp",
    "bake",
    "cameras_from",
    "cameras_from_colmap",
    "cameras_from_pytorch3d",
    "cameras_from_realestate10k",
    "cameras_from_unreal",
    "cameras_to",
    "cameras_to_colmap",
    "cameras_to_pytorch3d",
    "cameras_to_realestate10k",
    "cameras_to_unreal",
    "cloud_distance",
    "describe",
    "distort",
    "epipolar_lines",
    "epipolar_mask",
    "essential",
    "estimate_normals",
    "euler_from_matrix",
    "fill_nearest",
    "fit_splats",
    "flow_from_depth",
    "footprints",
    "forward_backward_visible",
    "forward_warp",
    "fov_deg",
    "fundamental",
    "fuse_points",
    "fuse_tsdf",
    "gltf_from_world",
    "interpolate",
    "invert_rigid",
    "largest_components",
    "lens_mask",
    "linear_from_srgb",
    "lint",
    "look_at",
    "matrix_from_6d",
    "matrix_from_axis_angle",
    "matrix_from_euler",
    "matrix_from_quaternion_wxyz",
    "nearest_neighbors",
    "nearest_point_to_axes",
    "opencv_from_opengl",
    "orbit",
    "plucker",
    "plucker_of",
    "points_from_depth",
    "project",
    "quaternion_wxyz_from_matrix",
    "radius_outliers",
    "rasterize",
    "ray_map",
    "render_mesh",
    "render_splats",
    "render_textured",
    "resample",
    "resampling_map",
    "rigid",
    "rolling_project",
    "rolling_ray_map",
    "rotate_harmonics",
    "rotation_about",
    "rpe",
    "sampson_distance",
    "scene_flow_from_flow_and_depths",
    "se3_exp",
    "se3_log",
    "shade",
    "simplify",
    "six_d_from_matrix",
    "slerp",
    "soft_forward_warp",
    "soft_render_mesh",
    "soft_silhouette",
    "spherical_harmonics",
    "srgb_from_linear",
    "ssim",
    "statistical_outliers",
    "surface_points",
    "symmetric_epipolar_distance",
    "trajectory_errors",
    "transform_points",
    "triangulate",
    "undistort",
    "unproject",
    "unwrap",
    "vertex_normals",
    "voxel_downsample",
    "warp_by_flow",
    "world_from_gltf",
]
