"""Readers and writers of camera paths."""

from geometry.io.trajectories.camera_script import CameraScript, parse_camera_script, read_camera_script
from geometry.io.trajectories.pose_files import (
    read_cameras_json,
    read_kitti,
    read_kitti_cameras,
    read_tum,
    read_tum_cameras,
    write_cameras_json,
    write_kitti,
    write_tum,
)

__all__ = [
    "CameraScript",
    "parse_camera_script",
    "read_camera_script",
    "read_cameras_json",
    "read_kitti",
    "read_kitti_cameras",
    "read_tum",
    "read_tum_cameras",
    "write_cameras_json",
    "write_kitti",
    "write_tum",
]
