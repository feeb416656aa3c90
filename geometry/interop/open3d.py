"""Meshes, point clouds and cameras to and from Open3D; its fusion behind our signature, and its ICP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_unskewed
from geometry.camera.conversion import cameras_from
from geometry.errors import InputError
from geometry.image.checks import checked_frames
from geometry.image.coercion import DepthsLike, FramesLike
from geometry.interop.sizes import one_size
from geometry.mesh.meshes import Mesh
from geometry.mesh.tsdf import voxel_grid
from geometry.optional import from_extra, load_optional
from geometry.points.pointclouds import GRAY, PointCloud
from geometry.shapes import Float
from geometry.values import as_value

_SKY_M = 1e6  # beyond any scene: the integration then sees empty space up to there


def fuse_tsdf_open3d(
    rgb: FramesLike,
    depth: DepthsLike,
    cameras: Cameras,
    voxel_m: float,
    truncation_m: float | None = None,
    bounds: Float[torch.Tensor, "2 3"] | None = None,
    max_voxels: int = 2**27,
) -> Mesh:
    """Fuse posed depth maps as `geometry.mesh.tsdf.fuse_tsdf` does, by Open3D's uniform volume.

    The volume is a cube, and the mesh is cut to the bounds. Colors pass through 8 bits.

    Args:
        rgb: f images, sRGB in 0..1.
        depth: their depth in metres; 0 = unknown, inf = sky.
        cameras: their pinhole cameras, of batch shape [f].
        voxel_m: side of a voxel in metres.
        truncation_m: how far around a depth it counts, in metres; 4 voxels by default.
        bounds: lowest and highest corner of the box to reconstruct; by default all known depth.
        max_voxels: limit of the cube's number of voxels.

    Returns:
        The colored mesh.

    Raises:
        InputError: as `fuse_tsdf` raises it, a lens other than a pinhole, or Open3D cannot be loaded.
    """
    o3d = _open3d()
    rgb, depth = checked_frames("fusion", rgb, depth, cameras)
    cameras.check_pinhole("fusion by Open3D")
    truncation = 4 * voxel_m if truncation_m is None else truncation_m
    lower, dims = voxel_grid(depth, cameras, voxel_m, truncation, bounds, max_voxels)
    side = max(dims)
    if side**3 > max_voxels:
        raise InputError(
            f"fusion: cube of {side}^3 voxels; expected at most {max_voxels}: give larger voxels or bounds"
        )
    volume = o3d.pipelines.integration.UniformTSDFVolume(
        length=side * voxel_m,
        resolution=side,
        sdf_trunc=truncation,
        color_type=o3d.pipelines.integration.TSDFVolumeColorType.RGB8,
        origin=lower.cpu().numpy(),
    )
    _integrate(o3d, volume, rgb, depth, cameras)
    mesh = volume.extract_triangle_mesh()
    upper = lower.cpu().numpy() + np.array(dims) * voxel_m
    mesh = mesh.crop(o3d.geometry.AxisAlignedBoundingBox(lower.cpu().numpy(), upper))
    if not len(mesh.triangles):
        raise InputError("fusion: no surface between seen voxels of the box; expected depth inside it")
    found = from_open3d_mesh(mesh)
    assert found.colors is not None
    device = cameras.K.device
    return Mesh(found.vertices.to(cameras.K), found.faces.to(device), found.colors.to(device).float())


def _integrate(
    o3d: Any, volume: Any, rgb: Float[torch.Tensor, "f 3 h w"], depth: Float[torch.Tensor, "f 1 h w"], cameras: Cameras
) -> None:
    """Add images with depth to a volume of Open3D."""
    colors = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().contiguous().numpy()
    metres = torch.where(depth > 0, depth, torch.zeros_like(depth)).clamp_max(_SKY_M)[:, 0].float().cpu().numpy()
    # Open3D's integration rounds to the nearest pixel index: its pixel centers are whole numbers.
    for i, camera in enumerate(to_open3d_cameras(cameras, pixel_center=0.0)):
        image = o3d.geometry.RGBDImage.create_from_color_and_depth(
            o3d.geometry.Image(np.ascontiguousarray(colors[i])),
            o3d.geometry.Image(np.ascontiguousarray(metres[i])),
            depth_scale=1.0,
            depth_trunc=2 * _SKY_M,
            convert_rgb_to_intensity=False,
        )
        volume.integrate(image, camera.intrinsic, camera.extrinsic)


def to_open3d_mesh(mesh: Mesh) -> Any:
    """Convert a mesh to Open3D's `TriangleMesh`; its colors become those of vertices."""
    o3d = _open3d()
    made = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(_doubles(mesh.vertices)), o3d.utility.Vector3iVector(mesh.faces.int().cpu().numpy())
    )
    if mesh.colors is not None:
        made.vertex_colors = o3d.utility.Vector3dVector(_doubles(mesh.colors))
    return made


def from_open3d_mesh(mesh: Any) -> Mesh:
    """Convert a mesh from Open3D's `TriangleMesh`, in float64; without colors where it has none."""
    colors = _tensor(mesh.vertex_colors) if mesh.has_vertex_colors() else None
    return Mesh(_tensor(mesh.vertices), _tensor(mesh.triangles).long(), colors)


def to_open3d_points(cloud: PointCloud) -> Any:
    """Convert a point cloud, with its normals if any, to Open3D's `PointCloud`."""
    o3d = _open3d()
    made = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(_doubles(cloud.points)))
    made.colors = o3d.utility.Vector3dVector(_doubles(cloud.colors))
    if cloud.normals is not None:
        made.normals = o3d.utility.Vector3dVector(_doubles(cloud.normals))
    return made


def from_open3d_points(cloud: Any) -> PointCloud:
    """Convert a point cloud from Open3D's `PointCloud`, in float64; gray where it has no colors."""
    points = _tensor(cloud.points)
    colors = _tensor(cloud.colors) if cloud.has_colors() else torch.full_like(points, GRAY)
    return PointCloud(points, colors, _tensor(cloud.normals) if cloud.has_normals() else None)


@as_value
@dataclass(frozen=True)
class Registration:
    """How one point cloud is aligned to another.

    Attributes:
        target_from_source: [4, 4] rigid, float64.
        fitness: share of the source's points that have one of the target's within the maximum distance.
        rmse_m: root mean square distance of those points, metres.
    """

    target_from_source: Float[torch.Tensor, "4 4"]
    fitness: float
    rmse_m: float


def icp_open3d(
    source: PointCloud,
    target: PointCloud,
    max_distance_m: float,
    target_from_source: Float[torch.Tensor, "4 4"] | None = None,
    to_planes: bool = False,
    iterations: int = 50,
) -> Registration:
    """Align a point cloud to another by iterated closest points (ICP; Besl and McKay 1992), by Open3D.

    Args:
        source: the points to move.
        target: the points to move them to.
        max_distance_m: points farther than this from the other cloud do not count.
        target_from_source: where to start (default: no motion); only what is nearly right gets better.
        to_planes: minimize distances to the planes of the target's normals instead of to its points (Chen and Medioni
            1992), which converges faster on smooth surfaces.
        iterations: at most this many.

    Returns:
        The rigid motion, and how well it fits.

    Raises:
        InputError: an empty cloud, a distance that is not positive, a target without the normals it needs, or Open3D
            cannot be loaded.
    """
    o3d = _open3d()
    if not len(source) or not len(target) or not max_distance_m > 0:
        raise InputError(
            f"ICP of {len(source)} onto {len(target)} points within {max_distance_m} m; expected some, and more than 0"
        )
    if to_planes and target.normals is None:
        raise InputError("ICP onto planes: a target without normals; expected some (`geometry.estimate_normals`)")
    estimation = o3d.pipelines.registration
    found = estimation.registration_icp(
        to_open3d_points(source),
        to_open3d_points(target),
        max_distance_m,
        np.eye(4) if target_from_source is None else _doubles(target_from_source),
        estimation.TransformationEstimationPointToPlane()
        if to_planes
        else estimation.TransformationEstimationPointToPoint(),
        estimation.ICPConvergenceCriteria(max_iteration=iterations),
    )
    return Registration(_tensor(found.transformation), found.fitness, found.inlier_rmse)


def to_open3d_cameras(cameras: Cameras, pixel_center: float = 0.5) -> list[Any]:
    """Convert cameras to Open3D's `PinholeCameraParameters`.

    Args:
        cameras: pinhole cameras of any batch shape.
        pixel_center: the coordinate of the first pixel's center, on which Open3D does not agree with itself: 0.5 for
            its ray casting, 0 for its fusion and its points from depth.

    Returns:
        One for each camera.

    Raises:
        InputError: skewed pixels or a lens, which the format cannot hold, or Open3D cannot be loaded.
    """
    o3d = _open3d()
    check_unskewed("Open3D's cameras", cameras)
    flat = cameras.reshape(cameras.shape.numel())
    height, width = cameras.hw
    made = []
    for pose, K in zip(_doubles(flat.camera_from_world), _doubles(flat.K)):
        camera = o3d.camera.PinholeCameraParameters()
        cx, cy = K[:2, 2] + (pixel_center - 0.5)
        camera.intrinsic = o3d.camera.PinholeCameraIntrinsic(width, height, K[0, 0], K[1, 1], cx, cy)
        camera.extrinsic = pose
        made.append(camera)
    return made


def from_open3d_cameras(cameras: Sequence[Any], pixel_center: float = 0.5) -> Cameras:
    """Convert cameras from Open3D's `PinholeCameraParameters`; the inverse of `to_open3d_cameras`.

    Args:
        cameras: n of them.
        pixel_center: the coordinate of the first pixel's center.

    Returns:
        Cameras of batch shape [n], float64.

    Raises:
        InputError: no cameras, or images of several sizes.
    """
    lenses = [camera.intrinsic for camera in cameras]
    hw = one_size("Open3D's cameras", ((lens.height, lens.width) for lens in lenses))
    K = torch.stack([_tensor(lens.intrinsic_matrix) for lens in lenses])
    K[:, :2, 2] += 0.5 - pixel_center
    return cameras_from("colmap", torch.stack([_tensor(camera.extrinsic) for camera in cameras]), K, hw)


def _open3d() -> Any:
    packages = "libusb-1.0-0 libgl1 libegl1 libx11-6"
    remedy = f"{from_extra('open3d')} and, on Debian or Ubuntu, apt-get install {packages}"
    return load_optional("open3d", "Open3D", remedy)


def _doubles(values: torch.Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values))
