"""Rotations and rigid motions in every form, and curves through them."""

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

__all__ = [
    "axis_angle_from_matrix",
    "euler_from_matrix",
    "invert_rigid",
    "look_at",
    "matrix_from_6d",
    "matrix_from_axis_angle",
    "matrix_from_euler",
    "matrix_from_quaternion_wxyz",
    "quaternion_wxyz_from_matrix",
    "rigid",
    "rotation_about",
    "se3_exp",
    "se3_log",
    "six_d_from_matrix",
    "slerp",
    "transform_points",
]
