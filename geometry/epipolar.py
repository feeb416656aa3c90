"""Two and more views of one scene: essential and fundamental matrices, epipolar distances, triangulation."""

import torch

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Float
from geometry.transforms import cross_matrix, invert_rigid


def essential(source: Cameras, target: Cameras) -> Float[torch.Tensor, "*b 3 3"]:
    """E with x_target^T E x_source = 0 for the directions x (z = 1) in which two cameras see one point.

    E = [t]x R of target_from_source (Hartley and Zisserman 2004, eq. 9.12), not normalised. 0 without a baseline.
    """
    motion = invert_rigid(target.world_from_camera) @ source.world_from_camera
    return cross_matrix(motion[..., :3, 3]) @ motion[..., :3, :3]


def fundamental(source: Cameras, target: Cameras) -> Float[torch.Tensor, "*b 3 3"]:
    """F with u_target^T F u_source = 0 for the pixels (u, v, 1) at which two cameras see one point.

    F = K_target^-T E K_source^-1 (Hartley and Zisserman 2004, section 9.6), not normalised. 0 without a baseline.
    Raises InputError for lenses other than pinholes, under which no such matrix exists.
    """
    for cameras in (source, target):
        cameras.check_pinhole("fundamental matrix")
    return torch.linalg.inv(target.K).mT @ essential(source, target) @ torch.linalg.inv(source.K)


def epipolar_lines(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n 3"]:
    """The lines a u + b v + c = 0 in the target on which source pixels may lie; a^2 + b^2 = 1, so that a pixel put in
    gives its distance. 0 where no line is fixed (no baseline, or the source pixel is the epipole)."""
    lines = _homogeneous(source_uv) @ F.mT
    return lines / _positive(lines[..., :2].norm(dim=-1, keepdim=True))


def symmetric_epipolar_distance(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"], target_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n"]:
    """Root of the summed squared distances, in pixels, of both pixels of matches to each other's epipolar line
    (Hartley and Zisserman 2004, eq. 11.10)."""
    source, target = _homogeneous(source_uv), _homogeneous(target_uv)
    in_target, in_source = source @ F.mT, target @ F
    residual = (target * in_target).sum(-1).abs()
    parts = [residual / _positive(line[..., :2].norm(dim=-1)) for line in (in_target, in_source)]
    return torch.hypot(parts[0], parts[1])


def sampson_distance(
    F: Float[torch.Tensor, "*b 3 3"], source_uv: Float[torch.Tensor, "*b n 2"], target_uv: Float[torch.Tensor, "*b n 2"]
) -> Float[torch.Tensor, "*b n"]:
    """How far, in pixels, matches are from agreeing with F: the length of the smallest joint move of both pixels that
    makes them agree, to first order (Hartley and Zisserman 2004, eq. 11.9)."""
    source, target = _homogeneous(source_uv), _homogeneous(target_uv)
    in_target, in_source = source @ F.mT, target @ F
    residual = (target * in_target).sum(-1).abs()
    return residual / _positive(torch.cat([in_target[..., :2], in_source[..., :2]], -1).norm(dim=-1))


def triangulate(cameras: Cameras, uv: Float[torch.Tensor, "*b m n 2"]) -> Float[torch.Tensor, "*b n 3"]:
    """The world points that m cameras of batch shape [*b, m] see at pixels uv: the linear solution that minimises the
    algebraic error (Hartley and Zisserman 2004, section 12.2), each camera's two equations scaled by its rays.

    Non-finite where the rays are parallel. Raises InputError for fewer than two cameras, or ones that are no pinholes.
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


def _positive(length: torch.Tensor) -> torch.Tensor:
    """A divisor that leaves 0 / 0 at 0."""
    return length.clamp_min(torch.finfo(length.dtype).tiny)
