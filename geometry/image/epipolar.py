"""Epipolar geometry: essential and fundamental matrices, epipolar distances and masks, triangulation."""

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import pixel_centers
from geometry.errors import InputError
from geometry.rotation.transforms import cross_matrix, invert_rigid
from geometry.shapes import Bool, Float

_DISTANCES_AT_ONCE = 2**22


def essential(source: Cameras, target: Cameras) -> Float[torch.Tensor, "*b 3 3"]:
    """Essential matrices: x_target^T E x_source = 0 for the directions x (z = 1) in which two cameras see one point.

    E = [t]x R of target_from_source (Hartley and Zisserman 2004, eq. 9.12).

    Args:
        source: Cameras of batch shape b.
        target: Cameras of batch shape b.

    Returns:
        Matrices [*b, 3, 3], not normalized; 0 without a baseline.
    """
    motion = invert_rigid(target.world_from_camera) @ source.world_from_camera
    return cross_matrix(motion[..., :3, 3]) @ motion[..., :3, :3]


def fundamental(source: Cameras, target: Cameras) -> Float[torch.Tensor, "*b 3 3"]:
    """Fundamental matrices: u_target^T F u_source = 0 for the pixels (u, v, 1) at which two cameras see one point.

    F = K_target^-T E K_source^-1 (Hartley and Zisserman 2004, section 9.6).

    Args:
        source: Pinhole cameras of batch shape b.
        target: Pinhole cameras of batch shape b.

    Returns:
        Matrices [*b, 3, 3], not normalized; 0 without a baseline.

    Raises:
        InputError: If a lens is not a pinhole: then no such matrix exists.
    """
    for cameras in (source, target):
        cameras.check_pinhole("fundamental matrix")
    return torch.linalg.inv(target.K).mT @ essential(source, target) @ torch.linalg.inv(source.K)


def epipolar_lines(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n 3"]:
    """The lines a u + b v + c = 0 in the target's image on which the points of source pixels lie.

    Args:
        F: Fundamental matrices [*b, 3, 3] (`fundamental`).
        source_uv: Pixel positions (u, v) in the source [*b, n, 2].

    Returns:
        (a, b, c) [*b, n, 3] with a^2 + b^2 = 1, so that a u + b v + c is a pixel's signed distance. 0 where no line is
        determined: without a baseline, or where the source pixel is the epipole.
    """
    lines = _homogeneous(source_uv) @ F.mT
    return _over(lines, lines[..., :2].norm(dim=-1, keepdim=True))


def epipolar_mask(
    source: Cameras, target: Cameras, max_pixels: float, depths_m: tuple[float, float] | None = None
) -> Bool[torch.Tensor, "*b h w h2 w2"]:
    """For each pixel of the targets, which pixels of the sources lie near its epipolar line.

    Distances are between pixel centers and lines, in pixels of the sources. For patches pass `cameras.resized` with one
    pixel per patch. Where no line is determined (no baseline, or the pixel is the epipole) every pixel is on it; with
    `depths_m` the pixels near the one place count that all depths project to. The mask takes h w h2 w2 bytes a camera
    pair; what is computed on the way is bounded.

    Args:
        source: Pinhole cameras of batch shape b.
        target: Pinhole cameras of batch shape b.
        max_pixels: How far a pixel may be from the line.
        depths_m: Nearest and furthest z-depth in the target (metres; inf is allowed) of what a pixel may show. Then
            only the part of the line between them counts, and nothing if all of it is behind the source.

    Returns:
        A mask [*b, h, w, h2, w2]: target pixels, then source pixels.

    Raises:
        InputError: If a lens is not a pinhole, or the depths are not 0 < nearest <= furthest.
    """
    for cameras in (source, target):
        cameras.check_pinhole("epipolar mask")
    queries, keys = (pixel_centers(cameras.hw, target.K.device, torch.float64) for cameras in (target, source))
    queries, keys = queries.flatten(0, 1), keys.flatten(0, 1)
    source, target = source.to(torch.float64), target.to(torch.float64)
    rows = max(1, _DISTANCES_AT_ONCE // (len(keys) * max(1, target.shape.numel())))
    near = torch.cat([_near(source, target, some, keys, max_pixels, depths_m) for some in queries.split(rows)], -2)
    return near.unflatten(-1, source.hw).unflatten(-3, target.hw)


def _near(
    source: Cameras, target: Cameras, queries: Float[torch.Tensor, "q 2"], keys: Float[torch.Tensor, "k 2"],
    max_pixels: float, depths_m: tuple[float, float] | None,
) -> Bool[torch.Tensor, "*b q k"]:  # fmt: skip
    """Which pixels of the sources are near the epipolar lines of some pixels of the targets."""
    if depths_m is None:
        lines = epipolar_lines(fundamental(target, source), queries.expand(*target.shape, -1, -1))
        return (lines @ _homogeneous(keys).mT).abs() <= max_pixels
    start, end, seen = _epipolar_segments(source, target, queries, depths_m)
    length = (end - start).norm(dim=-1, keepdim=True)
    right = (end - start).new_tensor([1.0, 0.0])  # a segment of no length may point anywhere
    unit = torch.where(length > 0, _over(end - start, length), right)
    normal = torch.stack([-unit[..., 1], unit[..., 0]], -1)
    across, along = (axis @ keys.mT - (axis * start).sum(-1, keepdim=True) for axis in (normal, unit))
    beyond = torch.maximum(-along, along - length).clamp_min(0)
    return (torch.hypot(across, beyond) <= max_pixels) & seen


def _epipolar_segments(
    source: Cameras, target: Cameras, target_uv: Float[torch.Tensor, "n 2"], depths_m: tuple[float, float]
) -> tuple[Float[torch.Tensor, "*b n 2"], Float[torch.Tensor, "*b n 2"], Bool[torch.Tensor, "*b n 1"]]:
    """The ends, in the sources' pixels, of the parts of the targets' rays between two depths, and whether they see any.

    A part that passes a source's plane z = 0 reaches infinity there; it is cut off at a millionth of its largest z.
    """
    if not 0 < depths_m[0] <= depths_m[1]:
        raise InputError(f"epipolar mask between {depths_m} m; expected 0 < nearest <= furthest")
    motion = invert_rigid(source.world_from_camera) @ target.world_from_camera
    direction = _homogeneous(target_uv) @ (source.K @ motion[..., :3, :3] @ torch.linalg.inv(target.K)).mT
    shift = (source.K @ motion[..., :3, 3:]).mT
    # A ray's point over its depth: linear in the inverse depth, and finite at infinity.
    ends = [direction + shift / depth for depth in depths_m]
    z = [end[..., 2:] for end in ends]
    least = 1e-6 * torch.maximum(*z)
    cut = []
    for i in (0, 1):
        share = ((least - z[i]) / torch.where(z[1 - i] == z[i], 1.0, z[1 - i] - z[i])).clamp(0, 1)
        end = torch.where(z[i] < least, ends[i] + share * (ends[1 - i] - ends[i]), ends[i])
        cut.append(end[..., :2] / torch.where(least > 0, end[..., 2:], 1.0))
    return cut[0], cut[1], least > 0


def symmetric_epipolar_distance(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"], target_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n"]:
    """Symmetric epipolar distance of matches (Hartley and Zisserman 2004, eq. 11.10).

    Args:
        F: Fundamental matrices [*b, 3, 3] (`fundamental`).
        source_uv: Pixel positions in the source [*b, n, 2].
        target_uv: The matching pixel positions in the target [*b, n, 2].

    Returns:
        The root of the summed squared distances of both pixels to each other's epipolar line [*b, n], in pixels.
    """
    source, target = _homogeneous(source_uv), _homogeneous(target_uv)
    in_target, in_source = source @ F.mT, target @ F
    residual = (target * in_target).sum(-1).abs()
    parts = [_over(residual, line[..., :2].norm(dim=-1)) for line in (in_target, in_source)]
    return torch.stack(parts).norm(dim=0)  # its gradient at 0 is 0, that of `hypot` is NaN


def sampson_distance(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"], target_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n"]:
    """Sampson distance of matches (Hartley and Zisserman 2004, eq. 11.9).

    Args:
        F: Fundamental matrices [*b, 3, 3] (`fundamental`).
        source_uv: Pixel positions in the source [*b, n, 2].
        target_uv: The matching pixel positions in the target [*b, n, 2].

    Returns:
        To first order, the length of the smallest joint shift of both pixels with which they agree with F [*b, n], in
        pixels.
    """
    source, target = _homogeneous(source_uv), _homogeneous(target_uv)
    in_target, in_source = source @ F.mT, target @ F
    residual = (target * in_target).sum(-1).abs()
    return _over(residual, torch.cat([in_target[..., :2], in_source[..., :2]], -1).norm(dim=-1))


def triangulate(cameras: Cameras, uv: Float[torch.Tensor, "*b m n 2"]) -> Float[torch.Tensor, "*b n 3"]:
    """World points from their pixels in several images: the linear solution (Hartley and Zisserman 2004, section 12.2).

    It minimizes the algebraic error, with each camera's two equations normalized.

    Args:
        cameras: m pinhole cameras of each batch element: batch shape [*b, m].
        uv: Where each camera sees the n points [*b, m, n, 2], pixels.

    Returns:
        World points [*b, n, 3] in metres; NaN or Inf where the rays are parallel.

    Raises:
        InputError: If there are fewer than two cameras, or a lens is not a pinhole.
    """
    cameras.check_pinhole("triangulation")
    if uv.shape[-3] < 2:
        raise InputError(f"triangulation from {uv.shape[-3]} camera; expected at least 2")
    projection = cameras.K @ cameras.camera_from_world[..., :3, :]
    rows = uv[..., None] * projection[..., None, None, 2, :] - projection[..., None, :2, :]  # [*b, m, n, 2, 4]
    rows = torch.nn.functional.normalize(rows, dim=-1).movedim(-4, -3).flatten(-3, -2)
    point = torch.linalg.svd(rows, full_matrices=True).Vh[..., -1, :]
    return point[..., :3] / point[..., 3:]


def _homogeneous(uv: torch.Tensor) -> torch.Tensor:
    return torch.cat([uv, torch.ones_like(uv[..., :1])], -1)


def _over(values: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """values / length; 0, and without a gradient, where the length is 0."""
    some = length > torch.finfo(length.dtype).tiny
    return torch.where(some, values / torch.where(some, length, 1.0), 0.0)
