"""Open3D behind our signatures."""

import importlib
from typing import Any

import numpy as np
import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.meshes import Mesh
from geometry.pointclouds import check_frames
from geometry.shapes import Float
from geometry.tsdf import voxel_grid

_SKY_M = 1e6  # beyond any scene: the integration then sees empty space up to there


def fuse_tsdf_open3d(
    rgb: Float[torch.Tensor, "f 3 h w"],
    depth: Float[torch.Tensor, "f 1 h w"],
    cameras: Cameras,
    voxel_m: float,
    truncation_m: float | None = None,
    bounds: Float[torch.Tensor, "2 3"] | None = None,
    max_voxels: int = 2**27,
) -> Mesh:
    """`geometry.tsdf.fuse_tsdf` by Open3D's uniform volume, whose box is a cube; the mesh is cut to the bounds.

    Colours pass through 8 bits. Raises InputError as `fuse_tsdf` does, for cameras that are no pinholes, and where
    Open3D is missing or cannot be loaded.
    """
    try:
        o3d: Any = importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        raise InputError(
            "Open3D cannot be loaded; expected pip install 'worldgen[open3d]' and, on Debian or Ubuntu, "
            "apt-get install libusb-1.0-0 libgl1 libegl1 libx11-6"
        ) from error

    check_frames("fusion", rgb, depth, cameras)
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
    colours = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().contiguous().numpy()
    metres = torch.where(depth > 0, depth, torch.zeros_like(depth)).clamp_max(_SKY_M)[:, 0].float().cpu().numpy()
    poses = cameras.camera_from_world.double().cpu().numpy()
    height, width = cameras.hw
    for i, K in enumerate(cameras.K.tolist()):
        # Open3D's integration rounds to the nearest pixel index: its pixel centres are whole numbers.
        lens = o3d.camera.PinholeCameraIntrinsic(width, height, K[0][0], K[1][1], K[0][2] - 0.5, K[1][2] - 0.5)
        picture = o3d.geometry.RGBDImage.create_from_color_and_depth(
            o3d.geometry.Image(np.ascontiguousarray(colours[i])),
            o3d.geometry.Image(np.ascontiguousarray(metres[i])),
            depth_scale=1.0,
            depth_trunc=2 * _SKY_M,
            convert_rgb_to_intensity=False,
        )
        volume.integrate(picture, lens, poses[i])
    mesh = volume.extract_triangle_mesh()
    upper = lower.cpu().numpy() + np.array(dims) * voxel_m
    mesh = mesh.crop(o3d.geometry.AxisAlignedBoundingBox(lower.cpu().numpy(), upper))
    if not len(mesh.triangles):
        raise InputError("fusion: no surface between seen voxels of the box; expected depth inside it")
    return Mesh(
        torch.from_numpy(np.asarray(mesh.vertices).copy()).to(cameras.K),
        torch.from_numpy(np.asarray(mesh.triangles).astype(np.int64)).to(cameras.K.device),
        torch.from_numpy(np.asarray(mesh.vertex_colors).copy()).to(cameras.K.device).float(),
    )
