"""Cameras, their lenses and rays, and the conventions of other tools."""

from geometry.camera.cameras import Cameras
from geometry.camera.conversion import CONVENTIONS, Convention, cameras_from, cameras_to
from geometry.camera.drawing import draw_cameras
from geometry.camera.lens_models import distort
from geometry.camera.lenses import Lens, LensKind
from geometry.camera.projection import project, unproject
from geometry.camera.rays import fov_deg, lens_mask, plucker, plucker_of, ray_map
from geometry.camera.rigs import Rig, RigCamera
from geometry.camera.rolling_shutter import RollingShutter, rolling_project, rolling_ray_map
from geometry.camera.tool_parameters import (
    cameras_from_colmap,
    cameras_from_pytorch3d,
    cameras_from_realestate10k,
    cameras_from_unreal,
    cameras_to_colmap,
    cameras_to_pytorch3d,
    cameras_to_realestate10k,
    cameras_to_unreal,
)

__all__ = [
    "CONVENTIONS",
    "Cameras",
    "Convention",
    "Lens",
    "LensKind",
    "Rig",
    "RigCamera",
    "RollingShutter",
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
    "distort",
    "draw_cameras",
    "fov_deg",
    "lens_mask",
    "plucker",
    "plucker_of",
    "project",
    "ray_map",
    "rolling_project",
    "rolling_ray_map",
    "unproject",
]
