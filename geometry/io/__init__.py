"""Files: the only place, beside `geometry.conventions`, where other conventions than ours exist.

formats       THE table of formats; `read` and `write` choose by it
captures      posed images: transforms.json, COLMAP, OpenSfM, LLFF, CO3D, phone apps, drives, RGB-D recordings
assets        meshes, points and Gaussians: PLY, GLB, OBJ, USD, .splat
trajectories  cameras alone: TUM, KITTI, our own JSON, camera scripts
images, video, exr
files         whole files, written atomically
entries       checked values of JSON files

Readers raise `geometry.errors.InputError` with one line for any bad file. Libraries are loaded when first needed.
"""

from geometry.io.exr import read_exr, write_exr
from geometry.io.formats import FORMATS, Format, convert_cameras, read, read_cameras, write, write_cameras
from geometry.io.images import (
    depth_unit,
    image_hw,
    read_depth_png,
    read_exif_fov,
    read_image,
    write_depth_png,
    write_png,
)
from geometry.io.video import read_mp4, read_mp4_at, video_times, write_mp4

__all__ = [
    "FORMATS",
    "Format",
    "convert_cameras",
    "depth_unit",
    "image_hw",
    "read",
    "read_cameras",
    "read_depth_png",
    "read_exif_fov",
    "read_exr",
    "read_image",
    "read_mp4",
    "read_mp4_at",
    "video_times",
    "write",
    "write_cameras",
    "write_depth_png",
    "write_exr",
    "write_mp4",
    "write_png",
]
