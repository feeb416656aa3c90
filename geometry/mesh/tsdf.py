"""A surface from posed depth by fusion of truncated signed distances (TSDF; Curless and Levoy 1996).

Voxel (i, j, k) has its center at lower + (i + 0.5, j + 0.5, k + 0.5) * voxel. Each voxel keeps the mean, over the
cameras that see it, of the signed distance along the viewing ray to the depth of the pixel its center falls in. The
distance is positive in front of the surface, in units of the truncation, and cut off at 1; a camera does not see voxels
that lie farther behind a surface than the truncation. The surface is the zero level between voxels that all were seen
(marching cubes, Lewiner et al. 2003).
"""

import math

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.errors import InputError
from geometry.image.checks import checked_frames
from geometry.image.coercion import DepthsLike, FramesLike
from geometry.mesh.meshes import Mesh
from geometry.shapes import Bool, Float, Int

_CHUNK = 2**18


def fuse_tsdf(
    rgb: FramesLike,
    depth: DepthsLike,
    cameras: Cameras,
    voxel_m: float,
    truncation_m: float | None = None,
    bounds: Float[torch.Tensor, "2 3"] | None = None,
    max_voxels: int = 2**27,
) -> Mesh:
    """Fuse posed depth maps to a colored surface. The same input gives the same mesh.

    Args:
        rgb: f images, sRGB in 0..1.
        depth: their depth in metres; 0 = unknown, inf = sky, which is seen to be empty.
        cameras: their cameras, of batch shape [f].
        voxel_m: side of a voxel in metres: details smaller than two voxels are lost.
        truncation_m: how far around a depth it counts, in metres; 4 voxels by default. It should exceed the depth's
            noise and be less than half of the thinnest part.
        bounds: lowest and highest corner of the box to reconstruct; by default all known depth.
        max_voxels: limit of the box's number of voxels (about 6 bytes each).

    Returns:
        The mesh; its colors are means over the cameras that saw the surface, interpolated trilinearly.

    Raises:
        InputError: shapes disagree, no depth is known, no surface is in the box, or the box is too large.
    """
    rgb, depth = checked_frames("fusion", rgb, depth, cameras)
    truncation = 4 * voxel_m if truncation_m is None else truncation_m
    if not (voxel_m > 0 and truncation > 0):
        raise InputError(f"fusion with voxels of {voxel_m} m, truncation {truncation} m; expected more than 0")
    lower, dims = voxel_grid(depth, cameras, voxel_m, truncation, bounds, max_voxels)
    shift = torch.eye(4, dtype=torch.float64, device=lower.device)
    shift[:3, 3] = -lower
    local = cameras.to(torch.float64).moved(shift).to(torch.float32)
    rgb, depth = rgb.float(), depth.float()
    near = _voxels_near_surfaces(depth, local, voxel_m, truncation, dims)
    parts = [_integrate(rgb, depth, local, voxel_m, truncation, _centers(c, voxel_m, dims)) for c in near.split(_CHUNK)]
    distance, seen, colors, has_color = (torch.cat(part) for part in zip(*parts))
    grid, faces = _marching_cubes(near, distance, seen, dims)
    colors = _trilinear(near, colors, has_color, grid, dims)
    vertices = lower + (grid.double() + 0.5) * voxel_m
    return Mesh(vertices.to(cameras.K.dtype), faces, colors)


def voxel_grid(
    depth: Float[torch.Tensor, "f 1 h w"],
    cameras: Cameras,
    voxel_m: float,
    margin_m: float,
    bounds: Float[torch.Tensor, "2 3"] | None,
    max_voxels: int,
) -> tuple[Float[torch.Tensor, "3"], tuple[int, int, int]]:
    """Lowest corner (float64, metres) and numbers of voxels of the box around `bounds`, or around all known depth.

    Raises InputError when no depth is known, the bounds are empty, or the box exceeds `max_voxels`.
    """
    if bounds is None:
        corners = []
        for i in range(len(depth)):
            keep = (depth[i] > 0) & depth[i].isfinite()
            points = unproject(cameras[i], torch.where(keep, depth[i], torch.ones_like(depth[i])))[keep[0]]
            if len(points):
                corners += [points.amin(0), points.amax(0)]
        if not corners:
            raise InputError("fusion: no pixel of known, finite depth; expected some surface to be seen")
        box = torch.stack(corners).double()
        lower, upper = box.amin(0) - margin_m - voxel_m, box.amax(0) + margin_m + voxel_m
        lower = (lower / voxel_m).floor() * voxel_m
    else:
        lower, upper = bounds.to(depth.device).double()
    if not bool((upper > lower).all() and lower.isfinite().all() and upper.isfinite().all()):
        raise InputError(f"fusion in a box from {lower.tolist()} to {upper.tolist()}; expected lowest corner first")
    x, y, z = (max(2, math.ceil(side)) for side in ((upper - lower) / voxel_m - 1e-9).tolist())
    if x * y * z > max_voxels:
        raise InputError(
            f"fusion: box of {x}x{y}x{z} voxels of {voxel_m} m; expected at most {max_voxels}: "
            "give larger voxels or bounds"
        )
    return lower, (x, y, z)


def _voxels_near_surfaces(
    depth: Float[torch.Tensor, "f 1 h w"], cameras: Cameras, voxel: float, truncation: float, dims: tuple[int, int, int]
) -> Int[torch.Tensor, "n"]:
    """Sorted flat indices of the voxels that a depth may reach: in blocks around it as wide as its reach."""
    finite = torch.where(depth.isfinite(), depth, torch.zeros_like(depth))
    pixel = float(finite.max()) * _pixel_width(cameras)  # footprint of the coarsest pixel, metres
    block = math.ceil((truncation + pixel) / voxel) + 1
    counts = [math.ceil(side / block) for side in dims]
    occupied = torch.zeros([side + 2 for side in counts], dtype=torch.bool, device=depth.device)  # one block around
    for i in range(len(depth)):
        keep = finite[i] > 0
        points = unproject(cameras[i], finite[i])[keep[0]]
        index = (points / (block * voxel)).floor() + 1
        index = index[((index >= 0) & (index < index.new_tensor(occupied.shape))).all(-1)].long()
        occupied[index[:, 0], index[:, 1], index[:, 2]] = True
    reached = torch.nn.functional.max_pool3d(occupied[None, None].float(), 3, stride=1)[0, 0] > 0
    for axis, side in enumerate(dims):
        reached = reached.repeat_interleave(block, axis).narrow(axis, 0, side)
    return reached.flatten().nonzero()[:, 0]


def _pixel_width(cameras: Cameras) -> float:
    """How far apart the directions of neighboring pixels are at most, at a depth of 1."""
    if cameras.lens is None:
        return 1 / float(cameras.K[:, [0, 1], [0, 1]].min())
    directions = camera_directions(cameras, pixel_centers(cameras.hw, cameras.K.device, cameras.K.dtype))
    steps = [directions.diff(dim=axis).norm(dim=-1).flatten() for axis in (-3, -2)]
    return float(torch.cat([*steps, directions.new_zeros(1)]).max())


def _centers(index: Int[torch.Tensor, "n"], voxel: float, dims: tuple[int, int, int]) -> Float[torch.Tensor, "3 n"]:
    ijk = torch.stack([index // (dims[1] * dims[2]), index // dims[2] % dims[1], index % dims[2]])
    return (ijk.float() + 0.5) * voxel


def _seen(camera: Cameras, points: Float[torch.Tensor, "3 n"]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u, v and depth of points in one camera: `project`, but a coordinate at a time, which is faster for many."""
    if camera.lens is not None:
        uv, z = project(camera, points.T)
        return uv[:, 0], uv[:, 1], z
    turn = camera.K @ camera.camera_from_world[:3]
    x, y, z = torch.addmm(turn[:, 3:], turn[:, :3], points)
    return x / z, y / z, z


def _integrate(
    rgb: Float[torch.Tensor, "f 3 h w"],
    depth: Float[torch.Tensor, "f 1 h w"],
    cameras: Cameras,
    voxel: float,
    truncation: float,
    centers: Float[torch.Tensor, "3 n"],
) -> tuple[Float[torch.Tensor, "n"], Bool[torch.Tensor, "n"], Float[torch.Tensor, "n 3"], Bool[torch.Tensor, "n"]]:
    """Mean truncated distance, whether seen, mean color, and whether there is one, of some voxels."""
    height, width = cameras.hw
    distance, weight, near = (torch.zeros_like(centers[0]) for _ in range(3))
    color = torch.zeros_like(centers)
    for i in range(len(depth)):
        u, v, z = _seen(cameras[i], centers)
        inside = (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        pixel = torch.where(inside, v.int() * width + u.int(), 0)
        d = depth[i].flatten().index_select(0, pixel)
        x, y, h = centers - cameras.centers[i][:, None]
        along_ray = torch.addcmul(torch.addcmul(x * x, y, y), h, h).sqrt_() / z  # 1 where a lens has depth along it
        signed = (d - z) * along_ray / truncation
        use = inside & (d > 0) & (signed >= -1)
        distance += torch.where(use, signed.clamp_max(1), 0.0)
        weight += use
        close = (use & (signed <= 1)).nonzero()[:, 0]
        color.index_add_(1, close, rgb[i].flatten(1).index_select(1, pixel[close]))
        near[close] += 1
    return distance / weight.clamp_min(1), weight > 0, (color / near.clamp_min(1)).T, near > 0


def _marching_cubes(
    index: Int[torch.Tensor, "n"],
    distance: Float[torch.Tensor, "n"],
    seen: Bool[torch.Tensor, "n"],
    dims: tuple[int, int, int],
) -> tuple[Float[torch.Tensor, "v 3"], Int[torch.Tensor, "t 3"]]:
    """The zero level in voxel coordinates (0 = the first voxel's center), only in cells whose 8 corners were seen."""
    from skimage.measure import marching_cubes

    volume, observed = np.ones(dims, np.float32), np.zeros(dims, bool)
    volume.reshape(-1)[index.cpu().numpy()] = distance.cpu().numpy()
    observed.reshape(-1)[index.cpu().numpy()] = seen.cpu().numpy()
    cells = observed[1:] & observed[:-1]
    cells = cells[:, 1:] & cells[:, :-1]
    observed[1:, 1:, 1:] = cells[:, :, 1:] & cells[:, :, :-1]  # marching cubes looks at a cell's highest corner
    try:
        vertices, faces, _, _ = marching_cubes(volume, 0.0, mask=observed, allow_degenerate=False)
    except (ValueError, RuntimeError) as error:
        raise InputError("fusion: no surface between seen voxels of the box; expected depth inside it") from error
    device = index.device
    return torch.from_numpy(vertices.copy()).to(device), torch.from_numpy(faces.astype(np.int64)).to(device)


def _trilinear(
    index: Int[torch.Tensor, "n"],
    colors: Float[torch.Tensor, "n 3"],
    has_color: Bool[torch.Tensor, "n"],
    grid: Float[torch.Tensor, "v 3"],
    dims: tuple[int, int, int],
) -> Float[torch.Tensor, "v 3"]:
    """Colors at positions in voxel coordinates, from the voxels around that have one."""
    base = torch.minimum(grid.floor().long(), torch.tensor(dims, device=grid.device) - 2)
    fraction = grid - base
    total, weights = torch.zeros_like(grid), torch.zeros_like(grid[:, :1])
    for corner in range(8):
        offset = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=grid.device)
        weight = torch.where(offset == 1, fraction, 1 - fraction).prod(-1, keepdim=True)
        x, y, z = (base + offset).unbind(-1)
        place = torch.searchsorted(index, (x * dims[1] + y) * dims[2] + z).clamp_max(len(index) - 1)
        weight = weight * has_color[place][:, None]
        total, weights = total + weight * colors[place], weights + weight
    return torch.where(weights > 0, total / weights.clamp_min(1e-12), torch.full_like(total, 0.5)).clamp(0, 1)
