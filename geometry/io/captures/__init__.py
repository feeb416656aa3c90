"""Readers and writers of posed images: captures of others, each in its own format."""

from geometry.io.captures.colmap import ColmapModel, read_colmap, read_colmap_images
from geometry.io.captures.colmap_rigs import ColmapRig, read_colmap_rigs, write_colmap_rig
from geometry.io.captures.colmap_writer import colmap_model, write_colmap
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.lidar import Lidar
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.captures.nuscenes import NuscenesTables, nuscenes_scenes, read_nuscenes, read_nuscenes_frame
from geometry.io.captures.posed import PosedImage, PosedImages
from geometry.io.captures.realestate10k import read_realestate10k, write_realestate10k

__all__ = [
    "ColmapModel",
    "ColmapRig",
    "Lidar",
    "NuscenesTables",
    "PosedImage",
    "PosedImages",
    "colmap_model",
    "nuscenes_scenes",
    "read_colmap",
    "read_colmap_images",
    "read_colmap_rigs",
    "read_ddad",
    "read_nuscenes",
    "read_nuscenes_frame",
    "read_realestate10k",
    "read_transforms",
    "write_colmap",
    "write_colmap_rig",
    "write_realestate10k",
    "write_transforms",
]
