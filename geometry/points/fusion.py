"""Posed depth maps fused to one point cloud: the points that several of them agree on."""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import camera_directions
from geometry.errors import InputError
from geometry.image.checks import checked_frames
from geometry.image.coercion import DepthsLike, FramesLike
from geometry.image.depth import depth_at
from geometry.image.sampling import sample_at
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import transform_points
from geometry.shapes import Bool, Float, Int

_PAIRS = 2**20  # points times views at once


def fuse_points(
    rgb: FramesLike,
    depth: DepthsLike,
    cameras: Cameras,
    confirmations: int = 2,
    max_pixels: float = 1.0,
    max_depth_ratio: float = 0.01,
) -> tuple[PointCloud, Int[torch.Tensor, "n"]]:
    """The points of depth maps that other views confirm, each once.

    A view confirms a point if the surface it shows there, projected back into the point's own frame, is near the
    point's pixel and depth (Yao et al. 2018, "MVSNet", section 4.2). A confirmed point is kept as the mean of its
    position and the confirming ones, and of the colors. As in COLMAP's fusion (Schoenberger et al. 2016, section 4.6),
    pixels that confirmed a point make no point of their own.

    `estimate_normals(cloud, cameras.centers[frame])` orients normals towards the cameras that saw them.

    Args:
        rgb: Images [f, 3, h, w], sRGB in 0..1.
        depth: Their depth [f, 1, h, w] in metres.
        cameras: Their cameras [f].
        confirmations: How many other views have to confirm a point.
        max_pixels: How far from the point's pixel the confirming surface may be.
        max_depth_ratio: How far from the point's depth it may be, relative to that depth.

    Returns:
        The points frame by frame, row by row, and the frame each was taken from [n].

    Raises:
        InputError: If shapes disagree, or there are no more frames than confirmations.
    """
    rgb, depth = checked_frames("point fusion", rgb, depth, cameras)
    if not 0 <= confirmations < len(rgb):
        raise InputError(f"point fusion of {len(rgb)} frames; expected more than the {confirmations} confirmations")
    known = (depth > 0) & depth.isfinite()
    free = known.flatten(1).clone()
    fused, frames = [], []
    for frame in range(len(rgb)):
        pixel = free[frame].nonzero()[:, 0]
        points = unproject(cameras[frame], torch.where(known[frame], depth[frame], 1.0)).flatten(0, 1)[pixel]
        total = torch.cat([points, rgb[frame].flatten(1)[:, pixel].T.to(points)], -1)
        count, confirmed = torch.ones_like(total[:, :1]), []
        others = torch.tensor([other for other in range(len(rgb)) if other != frame], device=free.device)
        for part in others.split(max(1, _PAIRS // max(1, len(points)))):
            there, uv, seen = _seen_again(points, depth[part], cameras[part])
            seen = seen & _comes_back(points, there, cameras[frame], max_pixels, max_depth_ratio)
            values = torch.cat([there, sample_at(rgb[part], uv).mT.to(there)], -1)
            total = total + torch.where(seen[..., None], values, 0.0).sum(0)
            count = count + seen.sum(0)[:, None]
            view, which = seen.nonzero(as_tuple=True)
            column, row = uv[view, which].long().unbind(-1)
            confirmed.append((part[view], which, row * cameras.hw[1] + column))
        kept = count[:, 0] > confirmations
        for view, which, where in confirmed:
            free[view[kept[which]], where[kept[which]]] = False
        fused.append((total / count)[kept])
        frames.append(torch.full_like(pixel[kept], frame))
    points, colors = torch.cat(fused).split(3, -1)
    return PointCloud(points, colors.to(rgb.dtype)), torch.cat(frames)


def _seen_again(
    points: Float[torch.Tensor, "n 3"], depth: Float[torch.Tensor, "f 1 h w"], cameras: Cameras
) -> tuple[Float[torch.Tensor, "f n 3"], Float[torch.Tensor, "f n 2"], Bool[torch.Tensor, "f n"]]:
    """The surface points that cameras show where points fall in their images, those pixels, and if there are any."""
    uv, z = project(cameras, points.expand(len(cameras), -1, -1))
    inside = (z > 0) & ((uv >= 0) & (uv < uv.new_tensor([cameras.hw[1], cameras.hw[0]]))).all(-1)
    uv = torch.where(inside[..., None], uv, 0.0)
    there, known = depth_at(depth, uv)
    seen = inside & known & there.isfinite()
    rays = camera_directions(cameras, uv[:, None])[:, 0]
    surface = rays * torch.where(seen, there, 1.0).to(rays)[..., None]
    return transform_points(cameras.world_from_camera, surface), uv, seen


def _comes_back(
    points: Float[torch.Tensor, "n 3"],
    there: Float[torch.Tensor, "f n 3"],
    camera: Cameras,
    pixels: float,
    share: float,
) -> Bool[torch.Tensor, "f n"]:
    """Which other surface points are within `pixels` and a share of depth of a camera's own points."""
    uv, z = project(camera, points)
    other_uv, other_z = (part.unflatten(0, there.shape[:2]) for part in project(camera, there.flatten(0, 1)))
    near = (other_uv - uv).norm(dim=-1) <= pixels
    return near & (other_z > 0) & ((other_z - z).abs() <= share * z)
