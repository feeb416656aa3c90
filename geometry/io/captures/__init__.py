"""Readers and writers of posed images: captures of others, each in its own format."""

from geometry.io.captures.co3d import read_co3d
from geometry.io.captures.colmap import ColmapModel, read_colmap, read_colmap_images
from geometry.io.captures.colmap_rigs import ColmapRig, read_colmap_rigs, write_colmap_rig
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.lidar import Lidar
from geometry.io.captures.llff import read_llff
from geometry.io.captures.metashape import read_metashape
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.captures.nuscenes import NuscenesTables, nuscenes_scenes, read_nuscenes, read_nuscenes_frame
from geometry.io.captures.opensfm import read_opensfm
from geometry.io.captures.phones import read_polycam, read_record3d
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.captures.realestate10k import read_realestate10k, write_realestate10k
from geometry.io.captures.rgbd_folders import read_seven_scenes, read_tum_rgbd

__all__ = [
    "ColmapModel",
    "ColmapRig",
    "Lidar",
    "NuscenesTables",
    "PosedImage",
    "PosedImages",
    "colmap_model",
    "nuscenes_scenes",
    "read_co3d",
    "read_colmap",
    "read_colmap_images",
    "read_colmap_rigs",
    "read_ddad",
    "read_llff",
    "read_metashape",
    "read_nuscenes",
    "read_nuscenes_frame",
    "read_opensfm",
    "read_polycam",
    "read_realestate10k",
    "read_record3d",
    "read_seven_scenes",
    "read_transforms",
    "read_tum_rgbd",
    "write_colmap",
    "write_colmap_rig",
    "write_realestate10k",
    "write_transforms",
]
