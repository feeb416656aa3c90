"""Meshes, point clouds and cameras to and from trimesh, whose colors are 8-bit sRGB with opacity; that is dropped."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_centered
from geometry.camera.conversion import cameras_from, cameras_to
from geometry.interop.sizes import one_size
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.shapes import Float


def to_trimesh_mesh(mesh: Mesh) -> Any:
    """Convert a mesh to trimesh's `Trimesh` with the same vertices and faces; none are merged."""
    import trimesh

    return trimesh.Trimesh(
        mesh.vertices.detach().double().cpu().numpy(),
        mesh.faces.cpu().numpy(),
        vertex_colors=None if mesh.colors is None else _bytes(mesh.colors),
        process=False,
    )


def from_trimesh_mesh(mesh: Any) -> Mesh:
    """Convert a mesh from trimesh's `Trimesh`, in float64; colors of faces and textures become those of vertices."""
    visual = mesh.visual.to_color() if mesh.visual.kind == "texture" else mesh.visual
    colors = None if visual.kind is None else _colors(visual.vertex_colors)
    return Mesh(_doubles(mesh.vertices), torch.from_numpy(np.array(mesh.faces, np.int64)), colors)


def to_trimesh_points(cloud: PointCloud) -> Any:
    """Convert a point cloud to trimesh's `PointCloud`."""
    import trimesh

    return trimesh.PointCloud(cloud.points.detach().double().cpu().numpy(), _bytes(cloud.colors))


def from_trimesh_points(cloud: Any) -> PointCloud:
    """Convert a point cloud from trimesh's `PointCloud`, in float64; gray where it has no colors."""
    points = _doubles(cloud.vertices)
    return PointCloud(points, torch.full_like(points, GRAY) if not len(cloud.colors) else _colors(cloud.colors))


def to_trimesh_cameras(cameras: Cameras) -> list[tuple[Any, np.ndarray]]:
    """Convert cameras to trimesh's `Camera`s with their poses.

    Args:
        cameras: cameras of any batch shape.

    Returns:
        One pair for each camera, as a `Scene` takes them: camera, camera_transform.

    Raises:
        InputError: what trimesh's cameras cannot hold: lenses, skew, a principal point off the middle.
    """
    from trimesh.scene import Camera

    check_centered("trimesh's cameras", cameras)
    poses, K = cameras_to("opengl", cameras.reshape(cameras.shape.numel()))
    size = (cameras.hw[1], cameras.hw[0])
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], -1).detach().double().cpu().numpy()
    places = poses.detach().double().cpu().numpy()
    return [(Camera(resolution=size, focal=lens), place) for lens, place in zip(focal, places)]


def from_trimesh_cameras(cameras: Sequence[tuple[Any, np.ndarray]]) -> Cameras:
    """Convert cameras from trimesh's `Camera`s with their poses.

    Args:
        cameras: n pairs of a `Camera` and its pose [4, 4].

    Returns:
        Cameras of batch shape [n], float64.

    Raises:
        InputError: no cameras, or images of several sizes.
    """
    hw = one_size("trimesh's cameras", ((camera.resolution[1], camera.resolution[0]) for camera, _ in cameras))
    poses = torch.stack([_doubles(pose) for _, pose in cameras])
    return cameras_from("opengl", poses, torch.stack([_doubles(camera.K) for camera, _ in cameras]), hw)


def _bytes(colors: Float[torch.Tensor, "n 3"]) -> np.ndarray:
    return (colors.detach().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _colors(values: np.ndarray) -> Float[torch.Tensor, "n 3"]:
    return _doubles(values)[:, :3] / 255


def _doubles(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float64))
