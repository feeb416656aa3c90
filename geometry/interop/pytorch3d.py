"""Cameras, meshes and point clouds to and from PyTorch3D, and its rasterizer behind our signature.

PyTorch3D projects in single precision only, so everything goes there as float32.
"""

from collections.abc import Sequence
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.tool_parameters import cameras_from_pytorch3d, cameras_to_pytorch3d
from geometry.errors import InputError
from geometry.interop.sizes import one_size
from geometry.mesh.meshes import Mesh
from geometry.mesh.rasterizing import Raster, check_mesh
from geometry.optional import load_optional
from geometry.points.pointclouds import GRAY, PointCloud


def to_pytorch3d_cameras(cameras: Cameras) -> Any:
    """Convert cameras to PyTorch3D's `PerspectiveCameras`, in NDC.

    Args:
        cameras: pinhole cameras of batch shape b.

    Returns:
        `PerspectiveCameras` that know their images' size; their one batch axis is b flattened.

    Raises:
        InputError: skewed pixels or a lens, which the class cannot hold, or PyTorch3D is missing.
    """
    renderer = _pytorch3d("renderer")
    flat = cameras.reshape(cameras.shape.numel())
    arguments = {name: value.float() for name, value in cameras_to_pytorch3d(flat).items()}
    size = torch.tensor(cameras.hw, device=flat.K.device).repeat(len(flat), 1)
    return renderer.PerspectiveCameras(**arguments, image_size=size, device=flat.K.device)


def from_pytorch3d_cameras(cameras: Any, hw: tuple[int, int] | None = None) -> Cameras:
    """Convert cameras from PyTorch3D's `PerspectiveCameras`, in NDC or in pixels.

    Args:
        cameras: n of them.
        hw: height and width of the images; needed only where the cameras do not know it.

    Returns:
        Cameras of batch shape [n].

    Raises:
        InputError: another class, cameras made of a matrix K, images of unknown or several sizes, or poses that are
            not rigid.
    """
    if getattr(cameras, "K", None) is not None or not hasattr(cameras, "principal_point"):
        raise InputError(f"{type(cameras).__name__}; expected PerspectiveCameras with focal_length and principal_point")
    if hw is None:
        size = getattr(cameras, "image_size", None)
        if size is None:
            raise InputError("PyTorch3D's cameras without image_size; expected hw, their images' height and width")
        hw = one_size("PyTorch3D's cameras", size.tolist())
    count = len(cameras.R)
    focal = cameras.focal_length.reshape(count, -1).expand(count, 2)
    return cameras_from_pytorch3d(cameras.R, cameras.T, focal, cameras.principal_point, hw, bool(cameras.in_ndc()))


def to_pytorch3d_meshes(meshes: Sequence[Mesh]) -> Any:
    """Convert meshes to PyTorch3D's `Meshes`, with `TexturesVertex` where they have colors.

    Raises:
        InputError: some meshes have colors and some have not, or PyTorch3D is missing.
    """
    colors = [mesh.colors.float() for mesh in meshes if mesh.colors is not None]
    if colors and len(colors) < len(meshes):
        raise InputError(f"{len(colors)} of {len(meshes)} meshes with colors; expected all or none")
    return _pytorch3d("structures").Meshes(
        verts=[mesh.vertices.float() for mesh in meshes],
        faces=[mesh.faces for mesh in meshes],
        textures=_pytorch3d("renderer").TexturesVertex(colors) if colors else None,
    )


def from_pytorch3d_meshes(meshes: Any) -> list[Mesh]:
    """Convert meshes from PyTorch3D's `Meshes`.

    Raises:
        InputError: textures other than colors of vertices.
    """
    textures = meshes.textures
    if textures is None:
        return [Mesh(*pair) for pair in zip(meshes.verts_list(), meshes.faces_list())]
    if not hasattr(textures, "verts_features_list"):
        raise InputError(f"meshes with {type(textures).__name__}; expected TexturesVertex or no textures")
    parts = zip(meshes.verts_list(), meshes.faces_list(), textures.verts_features_list())
    return [Mesh(vertices, faces, colors) for vertices, faces, colors in parts]


def to_pytorch3d_points(clouds: Sequence[PointCloud]) -> Any:
    """Convert point clouds to PyTorch3D's `Pointclouds`, whose features are the colors.

    Raises:
        InputError: some clouds have normals and some have not, or PyTorch3D is missing.
    """
    normals = [cloud.normals.float() for cloud in clouds if cloud.normals is not None]
    if normals and len(normals) < len(clouds):
        raise InputError(f"{len(normals)} of {len(clouds)} point clouds with normals; expected all or none")
    return _pytorch3d("structures").Pointclouds(
        points=[cloud.points.float() for cloud in clouds],
        normals=normals or None,
        features=[cloud.colors.float() for cloud in clouds],
    )


def from_pytorch3d_points(clouds: Any) -> list[PointCloud]:
    """Convert point clouds from PyTorch3D's `Pointclouds`, whose features are colors; gray without features."""
    points = clouds.points_list()
    colors = clouds.features_list() or [torch.full_like(part, GRAY) for part in points]
    normals = clouds.normals_list() or [None] * len(points)
    return [PointCloud(*parts) for parts in zip(points, colors, normals)]


def rasterize_pytorch3d(mesh: Mesh, cameras: Cameras, near_m: float = 0.01) -> Raster:
    """Rasterize a mesh by PyTorch3D, in single precision: what `geometry.rasterize` gives but for pixels on an edge.

    Every triangle is tried at every pixel (`bin_size` 0), since PyTorch3D's bins drop triangles where they overflow.

    Args:
        mesh: the mesh.
        cameras: pinhole cameras of batch shape b.
        near_m: z in metres of the near plane.

    Returns:
        Depth, triangle and weights of every pixel.

    Raises:
        InputError: as `rasterize` raises it, skewed pixels, or PyTorch3D is missing.
    """
    renderer = _pytorch3d("renderer")
    check_mesh("rasterizing by PyTorch3D", mesh, cameras, near_m)
    theirs, count = to_pytorch3d_cameras(cameras), cameras.shape.numel()
    settings = renderer.RasterizationSettings(
        image_size=cameras.hw,
        blur_radius=0.0,
        faces_per_pixel=1,
        bin_size=0,
        perspective_correct=True,
        clip_barycentric_coords=False,
        cull_backfaces=False,
        z_clip_value=near_m,
    )
    bare = Mesh(mesh.vertices.to(cameras.K.device), mesh.faces.to(cameras.K.device))
    found = renderer.MeshRasterizer(theirs, settings)(to_pytorch3d_meshes([bare] * count))
    packed = found.pix_to_face[..., 0].reshape(*cameras.shape, 1, *cameras.hw)  # counts on from mesh to mesh
    hit = packed >= 0
    face = torch.where(hit, packed % max(1, len(mesh.faces)), packed)
    depth = found.zbuf[..., 0].reshape(packed.shape).to(cameras.K.dtype)
    weights = found.bary_coords[..., 0, :].movedim(-1, -3).reshape(*cameras.shape, 3, *cameras.hw).to(cameras.K.dtype)
    return Raster(
        torch.where(hit, depth, torch.full_like(depth, torch.inf)),
        face,
        torch.where(hit, weights, torch.zeros_like(weights)),
    )


def _pytorch3d(module: str) -> Any:
    remedy = "conda env create --file environment.yml: it has no wheels for pip"
    return load_optional(f"pytorch3d.{module}", "PyTorch3D", remedy)
