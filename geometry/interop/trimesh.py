"""Meshes, point clouds and cameras to and from trimesh, whose colors are 8-bit sRGB with opacity; that is dropped.

trimesh has no direction up of its own: it keeps what a file says. Ours is z, that of GLB and of most OBJ files is y, so
that what it has loaded from those lies on its side here unless `up="y"` says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_centered
from geometry.camera.conversion import cameras_from, cameras_to
from geometry.conventions import srgb_from_linear, world_from_gltf
from geometry.errors import InputError
from geometry.interop.sizes import one_size
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.shapes import Float


def to_trimesh_mesh(mesh: Mesh | TexturedMesh) -> Any:
    """Convert a mesh to trimesh's `Trimesh` with the same vertices, faces and colors or texture; none are merged."""
    import trimesh

    if isinstance(mesh, TexturedMesh):
        from PIL import Image
        from trimesh.visual import TextureVisuals
        from trimesh.visual.material import PBRMaterial

        image = Image.fromarray((mesh.texture.movedim(0, -1).detach().cpu().clamp(0, 1) * 255).round().byte().numpy())
        material = PBRMaterial(baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True)
        made = to_trimesh_mesh(Mesh(mesh.mesh.vertices, mesh.mesh.faces))
        upright = mesh.uv.detach().double().cpu().numpy() * [1, -1] + [0, 1]
        made.visual = TextureVisuals(upright, material)
        return made
    return trimesh.Trimesh(
        mesh.vertices.detach().double().cpu().numpy(),
        mesh.faces.cpu().numpy(),
        vertex_colors=None if mesh.colors is None else _bytes(mesh.colors),
        process=False,
    )


def from_trimesh_mesh(mesh: Any, up: str = "z") -> Mesh:
    """Convert a mesh from trimesh's `Trimesh`, in float64; colors of faces and textures become those of vertices.

    Vertex colors of a GLB, which trimesh keeps in linear light, become sRGB.

    Args:
        mesh: the mesh.
        up: its direction up; "y", as after loading a GLB or most OBJ files, is turned to our z (`world_from_gltf`).

    Returns:
        The mesh in our world.

    Raises:
        InputError: another direction up.
    """
    colors = _visible(mesh.visual, len(mesh.vertices))
    return Mesh(_upright(_doubles(mesh.vertices), up), torch.from_numpy(np.array(mesh.faces, np.int64)), colors)


def _visible(visual: Any, count: int) -> Float[torch.Tensor, "n 3"] | None:
    """The colors of the vertices, sRGB."""
    if visual.kind is None:
        return None
    if visual.kind != "texture":
        return _colors(visual.vertex_colors)
    if (light := visual.vertex_attributes.get("color")) is not None:  # a GLB's COLOR_0, in linear light
        light = np.asarray(light)
        largest = np.iinfo(light.dtype).max if light.dtype.kind in "iu" else 1
        return srgb_from_linear((_doubles(light)[:, :3] / largest).clamp(0, 1))
    colors = _colors(np.atleast_2d(visual.to_color().vertex_colors))
    return colors.expand(count, 3).clone() if len(colors) == 1 else colors


def to_trimesh_points(cloud: PointCloud) -> Any:
    """Convert a point cloud to trimesh's `PointCloud`."""
    import trimesh

    return trimesh.PointCloud(cloud.points.detach().double().cpu().numpy(), _bytes(cloud.colors))


def from_trimesh_points(cloud: Any, up: str = "z") -> PointCloud:
    """Convert a point cloud from trimesh's `PointCloud`, in float64; gray where it has no colors.

    Args:
        cloud: the points.
        up: their direction up, as for `from_trimesh_mesh`.

    Returns:
        The points in our world.

    Raises:
        InputError: another direction up.
    """
    points = _upright(_doubles(cloud.vertices), up)
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


def _upright(points: Float[torch.Tensor, "n 3"], up: str) -> Float[torch.Tensor, "n 3"]:
    if up not in ("z", "y"):
        raise InputError(f"trimesh's world: up is {up!r}; expected 'z' or 'y'")
    return world_from_gltf(points) if up == "y" else points


def _bytes(colors: Float[torch.Tensor, "n 3"]) -> np.ndarray:
    return (colors.detach().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _colors(values: np.ndarray) -> Float[torch.Tensor, "n 3"]:
    return _doubles(values)[:, :3] / 255


def _doubles(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float64))
