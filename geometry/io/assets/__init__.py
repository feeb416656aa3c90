"""Readers and writers of meshes, point clouds and Gaussians."""

from geometry.io.assets.gltf import MovingMesh, write_glb, write_moving_glb
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.assets.obj import read_obj, write_obj
from geometry.io.assets.ply import read_ply, write_ply
from geometry.io.assets.point_sequence import PointSequence, read_point_sequence, write_point_sequence
from geometry.io.assets.splats import read_splats, write_splats
from geometry.io.assets.usd import write_usd

__all__ = [
    "MovingMesh",
    "PointSequence",
    "read_glb",
    "read_obj",
    "read_ply",
    "read_point_sequence",
    "read_splats",
    "write_glb",
    "write_moving_glb",
    "write_obj",
    "write_ply",
    "write_point_sequence",
    "write_splats",
    "write_usd",
]
