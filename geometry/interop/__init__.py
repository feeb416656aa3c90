"""Values of other libraries to and from ours, and their versions of what we do; each is loaded only when called.

gsplat     rendering Gaussians on CUDA (`geometry.gaussians.rendering` calls it)
kornia     cameras
open3d     cameras, meshes, points; TSDF fusion (`geometry.mesh.tsdf` is our own), ICP
pytorch3d  cameras, meshes, points; rasterizing (`geometry.mesh.rasterizing` is our own)
trimesh    cameras, meshes, points
"""

from geometry.interop.gsplat import rasterize_gsplat
from geometry.interop.kornia import from_kornia_cameras, to_kornia_cameras
from geometry.interop.open3d import (
    Registration,
    from_open3d_cameras,
    from_open3d_mesh,
    from_open3d_points,
    fuse_tsdf_open3d,
    icp_open3d,
    to_open3d_cameras,
    to_open3d_mesh,
    to_open3d_points,
)
from geometry.interop.pytorch3d import (
    from_pytorch3d_cameras,
    from_pytorch3d_meshes,
    from_pytorch3d_points,
    rasterize_pytorch3d,
    to_pytorch3d_cameras,
    to_pytorch3d_meshes,
    to_pytorch3d_points,
)
from geometry.interop.trimesh import (
    from_trimesh_cameras,
    from_trimesh_mesh,
    from_trimesh_points,
    to_trimesh_cameras,
    to_trimesh_mesh,
    to_trimesh_points,
)

__all__ = [
    "Registration",
    "from_kornia_cameras",
    "from_open3d_cameras",
    "from_open3d_mesh",
    "from_open3d_points",
    "from_pytorch3d_cameras",
    "from_pytorch3d_meshes",
    "from_pytorch3d_points",
    "from_trimesh_cameras",
    "from_trimesh_mesh",
    "from_trimesh_points",
    "fuse_tsdf_open3d",
    "icp_open3d",
    "rasterize_gsplat",
    "rasterize_pytorch3d",
    "to_kornia_cameras",
    "to_open3d_cameras",
    "to_open3d_mesh",
    "to_open3d_points",
    "to_pytorch3d_cameras",
    "to_pytorch3d_meshes",
    "to_pytorch3d_points",
    "to_trimesh_cameras",
    "to_trimesh_mesh",
    "to_trimesh_points",
]
