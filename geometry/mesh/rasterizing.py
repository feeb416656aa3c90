"""Rasterizing meshes: a z-buffer in plain torch, exact to rounding and differentiable.

A pixel's ray d (z = 1) meets the plane of the corners a, b, c where d is a mix of them, whose weights are proportional
to d . (b x c), d . (c x a), d . (a x b) (homogeneous rasterization, Olano and Greer 1997). They have one sign exactly
inside the triangle, also where corners lie behind the camera, so nothing needs clipping; and they are the barycentric
weights of the point in space, perspective included. Work goes by fragments, the pixels in each triangle's box on the
screen, in chunks: RAM does not grow with the size of triangles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions, pixel_centers
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.mesh.meshes import Mesh
from geometry.rotation.transforms import transform_points
from geometry.shapes import Float, Int
from geometry.values import as_value

_CHUNK = 2**18  # fragments at a time, some 300 bytes each
_SLACK_PX = 1e-6  # boxes are rounded by less; which pixels are inside is decided exactly

Fragments = Iterator[tuple[torch.Tensor, torch.Tensor]]  # triangles and flat pixels, [n] each


@as_value
@dataclass(frozen=True)
class Raster:
    """What the ray through each pixel's center meets first.

    Attributes:
        depth: [*b, 1, h, w] z in metres, inf where it meets nothing.
        face: [*b, 1, h, w] index of the triangle, -1 where it meets nothing.
        weights: [*b, 3, h, w] barycentric weights of the triangle's corners in their order, perspective-correct; 0
            where it meets nothing.
    """

    depth: Float[torch.Tensor, "*b 1 h w"]
    face: Int[torch.Tensor, "*b 1 h w"]
    weights: Float[torch.Tensor, "*b 3 h w"]


def rasterize(mesh: Mesh, cameras: Cameras, near_m: float = 0.01) -> Raster:
    """Find the nearest triangle of every pixel of every camera, seen from either side.

    Depth and weights are differentiable in the vertices and the cameras; which triangle is nearest is not, so outlines
    have no gradient (`geometry.mesh.soft_rasterizing` has). Computed in float64, returned in the cameras' float type.
    Of triangles that are equally near, the first counts; no ray passes between two that share an edge.

    Args:
        mesh: the mesh.
        cameras: pinhole cameras of batch shape b.
        near_m: z in metres of the near plane; nothing nearer is seen.

    Returns:
        Depth, triangle and weights of every pixel.

    Raises:
        InputError: a lens other than a pinhole, vertices with NaN or Inf, or a near plane at 0 or behind the camera.
    """
    check_mesh("rasterizing", mesh, cameras, near_m)
    flat, (height, width) = cameras.reshape(cameras.shape.numel()).to(torch.float64), cameras.hw
    vertices, faces = mesh.vertices.to(flat.K), mesh.faces.to(flat.K.device)
    centers = pixel_centers(cameras.hw, flat.K.device, torch.float64)
    depths, weights, indices = [flat.K.new_zeros(0)], [flat.K.new_zeros(0, 3)], [faces.new_zeros(0, height * width)]
    for i in range(len(flat)):
        corners = transform_points(flat.camera_from_world[i], vertices)[faces]
        rays = camera_directions(flat[i], centers).flatten(0, 1)
        with torch.no_grad():
            face = _nearest_faces(corners, flat.K[i], rays, cameras.hw, near_m)
        hit = face >= 0
        weight, depth = _meet(_edge_planes(corners[face[hit]]), corners[face[hit]][..., 2], rays[hit])
        depths, weights, indices = [*depths, depth], [*weights, weight], [*indices, face[None]]
    face = torch.cat(indices)
    hit = face >= 0
    depth = torch.full_like(face, torch.inf, dtype=torch.float64).masked_scatter(hit, torch.cat(depths))
    weight = flat.K.new_zeros(*face.shape, 3).masked_scatter(hit[..., None], torch.cat(weights))
    one, three = (*cameras.shape, 1, height, width), (*cameras.shape, 3, height, width)
    dtype = cameras.K.dtype
    return Raster(depth.to(dtype).reshape(one), face.reshape(one), weight.mT.to(dtype).reshape(three))


def interpolate(raster: Raster, mesh: Mesh, attributes: Float[torch.Tensor, "v c"]) -> Float[torch.Tensor, "*b c h w"]:
    """Interpolate values given at a mesh's vertices.

    Args:
        raster: of b cameras, from `rasterize`.
        mesh: the mesh that was rasterized.
        attributes: c values at each vertex.

    Returns:
        The values at every pixel; 0 where there is no surface.
    """
    at_corners = attributes.to(raster.weights)[mesh.faces.to(raster.face.device)[raster.face.clamp_min(0)]]
    return torch.einsum("...khw,...hwkc->...chw", raster.weights, at_corners[..., 0, :, :, :, :])


def shade(
    raster: Raster, mesh: Mesh, background: Float[torch.Tensor, "3"] | None = None
) -> Float[torch.Tensor, "*b 3 h w"]:
    """Color the pixels of a raster by the mesh's own colors, unlit and mixed in linear light, as viewers of our GLB do.

    Args:
        raster: of b cameras, from `rasterize`.
        mesh: the mesh that was rasterized, with colors.
        background: its sRGB; black by default.

    Returns:
        Images, sRGB in 0..1.

    Raises:
        InputError: a mesh without colors.
    """
    light = interpolate(raster, mesh, linear_from_srgb(colored("shading", mesh)))
    behind = light.new_zeros(3) if background is None else background.to(light)
    return torch.where(raster.face >= 0, srgb_from_linear(light), behind[:, None, None])


def render_mesh(
    mesh: Mesh, cameras: Cameras, background: Float[torch.Tensor, "3"] | None = None, near_m: float = 0.01
) -> tuple[Float[torch.Tensor, "*b 3 h w"], Float[torch.Tensor, "*b 1 h w"]]:
    """Render a mesh with colors: `rasterize` and `shade`.

    Args:
        mesh: a mesh with colors.
        cameras: pinhole cameras of batch shape b.
        background: its sRGB; black by default.
        near_m: z in metres of the near plane.

    Returns:
        Images [*b, 3, h, w], sRGB in 0..1, and depth [*b, 1, h, w], z in metres, inf at the background.

    Raises:
        InputError: as `rasterize` and `shade` raise it.
    """
    raster = rasterize(mesh, cameras, near_m)
    return shade(raster, mesh, background), raster.depth


def check_mesh(what: str, mesh: Mesh, cameras: Cameras, near_m: float) -> None:
    """Raise InputError, beginning with `what`, unless cameras and mesh can be rasterized."""
    cameras.check_pinhole(what)
    if not near_m > 0:
        raise InputError(f"{what}: near plane at {near_m} m; expected more than 0")
    if not bool(mesh.vertices.isfinite().all()):
        raise InputError(f"{what}: vertices with NaN or Inf; expected finite numbers")


def colored(what: str, mesh: Mesh) -> Float[torch.Tensor, "v 3"]:
    """The colors of a mesh. Raises InputError, beginning with `what`, if it has none."""
    if mesh.colors is None:
        raise InputError(f"{what}: a mesh without colors; expected one for each vertex")
    return mesh.colors


def fragments(lower: Float[torch.Tensor, "t 2"], upper: Float[torch.Tensor, "t 2"], hw: tuple[int, int]) -> Fragments:
    """All pairs of a triangle and a pixel whose center is in its box (u, v), triangle by triangle, in chunks."""
    size = lower.new_tensor([hw[1], hw[0]])
    first = torch.minimum((lower - 0.5 - _SLACK_PX).ceil().clamp_min(0), size).long()
    last = torch.minimum((upper - 0.5 + _SLACK_PX).floor().clamp_min(-1), size - 1).long()
    sides = (last - first + 1).clamp_min(0)
    count = sides.prod(-1)
    end = count.cumsum(0)
    total = int(count.sum())
    for start in range(0, total, _CHUNK):
        index = torch.arange(start, min(start + _CHUNK, total), device=lower.device)
        triangle = torch.searchsorted(end, index, right=True)
        within, across = index - (end - count)[triangle], sides[triangle, 0]
        row = first[triangle, 1] + torch.div(within, across, rounding_mode="floor")
        yield triangle, row * hw[1] + first[triangle, 0] + within % across


def _edge_planes(corners: Float[torch.Tensor, "*n 3 3"]) -> Float[torch.Tensor, "*n 3 3"]:
    """Normals b x c, c x a, a x b of the planes through the camera and the edge opposite each corner.

    An edge that two triangles share has exactly opposite normals in both if they wind alike, the same ones if not.
    """
    return torch.linalg.cross(corners.roll(-1, -2), corners.roll(-2, -2))


def _meet(
    planes: Float[torch.Tensor, "n 3 3"], corner_z: Float[torch.Tensor, "n 3"], rays: Float[torch.Tensor, "n 3"]
) -> tuple[Float[torch.Tensor, "n 3"], Float[torch.Tensor, "n"]]:
    """Weights and z of the points where rays meet the planes of triangles; weights are NaN where they are parallel."""
    mix = (planes * rays[:, None]).sum(-1)
    weights = mix / mix.sum(-1, keepdim=True)
    return weights, (weights * corner_z).sum(-1)


def _nearest_faces(
    corners: Float[torch.Tensor, "t 3 3"],
    K: Float[torch.Tensor, "3 3"],
    rays: Float[torch.Tensor, "p 3"],
    hw: tuple[int, int],
    near: float,
) -> Int[torch.Tensor, "p"]:
    """The triangle (corners in camera axes) that each pixel's ray meets first, -1 where there is none."""
    planes, none = _edge_planes(corners), len(corners)
    nearest = torch.full_like(rays[:, 0], torch.inf)
    face = torch.full_like(nearest, none, dtype=torch.long)
    for triangle, pixel in fragments(*_boxes(corners, K, near), hw):
        weights, depth = _meet(planes[triangle], corners[triangle, :, 2], rays[pixel])
        seen = (weights >= 0).all(-1) & (depth >= near)
        triangle, pixel, depth = triangle[seen], pixel[seen], depth[seen]
        before = nearest
        nearest = before.scatter_reduce(0, pixel, depth, "amin")
        face[nearest < before] = none
        first = depth == nearest[pixel]
        face.scatter_reduce_(0, pixel[first], triangle[first], "amin")
    return torch.where(face < none, face, torch.full_like(face, -1))


def _boxes(
    corners: Float[torch.Tensor, "t 3 3"], K: Float[torch.Tensor, "3 3"], near: float
) -> tuple[Float[torch.Tensor, "t 2"], Float[torch.Tensor, "t 2"]]:
    """Lowest and highest pixel position (u, v) of the part of each triangle beyond the near plane; inf, -inf if none.

    The corners of that part are the triangle's own and those where its edges cross the near plane.
    """
    ends = corners.roll(-1, 1)
    beyond = corners[..., 2] >= near
    passes = beyond != beyond.roll(-1, 1)
    share = (near - corners[..., 2:]) / (ends - corners)[..., 2:]
    points = torch.cat([corners, corners + share * (ends - corners)], 1)
    image = points @ K.T
    known, uv = torch.cat([beyond, passes], 1)[..., None], image[..., :2] / image[..., 2:]
    lower = torch.where(known, uv, torch.full_like(uv, torch.inf)).amin(1)
    return lower, torch.where(known, uv, torch.full_like(uv, -torch.inf)).amax(1)
