"""Where rays end on one primitive, and its surface there."""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import LensKind
from geometry.camera.rays import camera_directions, pixel_centers
from worldgen.scenes.rendering.numba.compiling import kernel
from worldgen.scenes.shapes import Shape

_BOX, _CYLINDER, _CONE, _CAPSULE = int(Shape.BOX), int(Shape.CYLINDER), int(Shape.CONE), int(Shape.CAPSULE)
_TORUS, _PLANE, _SUPERQUADRIC, _MESH = int(Shape.TORUS), int(Shape.PLANE), int(Shape.SUPERQUADRIC), int(Shape.MESH)
_F = np.float32
_0, _1, _2, _HALF, _TINY, _LEAST = _F(0), _F(1), _F(2), _F(0.5), _F(1e-12), _F(1e-6)


class Views(NamedTuple):
    """The cameras of p images.

    scene             [p] which scene of the batch
    world_from_pixel  [p, 3, 3] K R^T inverted: a pixel (u, v, 1) to its direction in the world
    eye               [p, 3, 1] centers
    image             [p, 4, 3] rows of K R^T and the forward axis
    pixel             [p] width of a ray at 1 m; 0 = textures unfiltered
    lens              [p] row of `rays` and `centers`, -1 = a pinhole
    rays, centers     [r, 3, h, w] directions in the world of cameras with a lens: as fine as color needs, and one a
                      pixel
    """

    scene: np.ndarray
    world_from_pixel: np.ndarray
    eye: np.ndarray
    image: np.ndarray
    pixel: np.ndarray
    lens: np.ndarray
    rays: np.ndarray
    centers: np.ndarray


def lens_rays(cameras: Cameras, fineness: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """The rows [p] of cameras with a lens (-1 = a pinhole), and their rays [r, 3, h, w] in the world at each fineness
    (rays a pixel and axis)."""
    lens = cameras.lens
    if lens is None:
        return torch.full((len(cameras),), -1), [torch.zeros(0, 3, 1, 1)] * len(fineness)
    has = lens.kind != LensKind.PINHOLE
    number, some = torch.where(has, has.long().cumsum(0) - 1, -1), cameras[has]
    # The frames of a clip mostly share one lens, whose directions are computed once.
    own = torch.cat([some.K.flatten(1), lens.coefficients[has], lens.reach[has, None], lens.kind[has, None]], 1)
    alike = own.unique(dim=0, return_inverse=True)[1]
    different = some[[int((alike == n).nonzero()[0]) for n in alike.unique()]]
    turn, rays = some.world_from_camera[:, None, :3, :3].mT, []
    for times in fineness:
        fine = different.resized((some.hw[0] * times, some.hw[1] * times))
        directions = camera_directions(fine, pixel_centers(fine.hw))[alike]
        rays.append((directions @ turn).movedim(-1, 1).contiguous())
    return number, rays


class SceneArrays(NamedTuple):
    """Of b scenes what shading needs beside shapes and poses.

    size                [b, n, 3] half extents
    texture             [b, n, 25] `Textures.table`
    material            [b, n, 4] gloss, shine, glow, haze
    instance, semantic  [b, n]
    sky                 [b, 3, 3] colors: ambient, horizon, zenith
    light, light_color  [b, 1 + l, 3, 1], [b, 1 + l, 3] first the sun, by its direction, then lamps, by their places
    """

    size: np.ndarray
    texture: np.ndarray
    material: np.ndarray
    instance: np.ndarray
    semantic: np.ndarray
    sky: np.ndarray
    light: np.ndarray
    light_color: np.ndarray


class Bundle(NamedTuple):
    """Rays of a bundle: directions [3, k], what they hit [k], and the pixels they belong to [k]."""

    direction: np.ndarray
    t: np.ndarray
    slot: np.ndarray
    triangle: np.ndarray
    at: np.ndarray


class SurfacePoints(NamedTuple):
    """Where rays of a bundle end on one primitive: vectors [3, k] and numbers [k]; `lean` is the local normal."""

    point: np.ndarray
    local: np.ndarray
    lean: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    light: np.ndarray
    to_light: np.ndarray
    length: np.ndarray
    facing: np.ndarray
    shining: np.ndarray
    width: np.ndarray


@no_type_check
@kernel
def surface_points(solids, views, scenes, p, n, rays, ends, count):
    """`worldgen.scenes.rendering.torch.shading.surfaces` for the rays that hit primitive n of image p."""
    matrix, extent = solids.affine[p, n], scenes.size[views.scene[p], n]
    for c in range(3):
        eye = views.eye[p, c, 0]
        for k in range(count):
            ends.point[c, k] = eye + rays.t[k] * rays.direction[c, k]
    _turned(matrix, ends.point, ends.local, count)
    if solids.kind[p, n] == _MESH:
        _triangle_normals(solids.corners[p], rays, ends.normal, count)
        _turned(matrix, ends.normal, ends.lean, count)
        for c in range(3):
            # n = A^T m, and the rows of A are those of the rotation over the size.
            for k in range(count):
                ends.lean[c, k] = (ends.lean[c, k] - matrix[c, 3]) * extent[c] * extent[c]
    else:
        _unit_normals(solids.kind[p, n], solids.form[p, n, 0], solids.form[p, n, 1], ends.local, ends.lean, count)
    for k in range(count):
        a, b, c = ends.lean[0, k], ends.lean[1, k], ends.lean[2, k]
        x = matrix[0, 0] * a + matrix[1, 0] * b + matrix[2, 0] * c
        y = matrix[0, 1] * a + matrix[1, 1] * b + matrix[2, 1] * c
        z = matrix[0, 2] * a + matrix[1, 2] * b + matrix[2, 2] * c
        scale = _1 / max(np.sqrt(x * x + y * y + z * z), _TINY)
        ends.normal[0, k], ends.normal[1, k], ends.normal[2, k] = x * scale, y * scale, z * scale
    for c in range(3):
        inverse = _1 / extent[c]
        for k in range(count):
            ends.lean[c, k] *= inverse
            ends.local[c, k] *= extent[c]


@no_type_check
@kernel
def _turned(matrix, vector, result, count):
    for c in range(3):
        a, b, e, shift = matrix[c, 0], matrix[c, 1], matrix[c, 2], matrix[c, 3]
        for k in range(count):
            result[c, k] = a * vector[0, k] + b * vector[1, k] + e * vector[2, k] + shift


@no_type_check
@kernel
def _triangle_normals(corners, rays, normal, count):
    for k in range(count):
        g = rays.triangle[k]
        ax, ay, az = corners[g, 0, 0], corners[g, 0, 1], corners[g, 0, 2]
        bx, by, bz = corners[g, 1, 0] - ax, corners[g, 1, 1] - ay, corners[g, 1, 2] - az
        cx, cy, cz = corners[g, 2, 0] - ax, corners[g, 2, 1] - ay, corners[g, 2, 2] - az
        nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        away = nx * rays.direction[0, k] + ny * rays.direction[1, k] + nz * rays.direction[2, k] > _0
        normal[0, k], normal[1, k], normal[2, k] = (-nx, -ny, -nz) if away else (nx, ny, nz)


@no_type_check
@kernel
def _unit_normals(kind, first, second, point, normal, count):
    """`worldgen.scenes.rendering.torch.shapes.unit_normal`."""
    for k in range(count):
        x, y, z = point[0, k], point[1, k], point[2, k]
        if kind == _BOX:
            most = max(abs(x), abs(y), abs(z))
            x, y, z = (x if abs(x) >= most else _0), (y if abs(y) >= most else _0), (z if abs(z) >= most else _0)
        elif kind == _CYLINDER:
            flat = z * z >= x * x + y * y
            x, y, z = (_0 if flat else x), (_0 if flat else y), (np.sign(z) if flat else _0)
        elif kind == _CONE:
            flat = z < _F(1e-3) - _1
            side = np.sqrt(x * x + y * y) * _HALF
            x, y, z = (_0 if flat else x), (_0 if flat else y), (-_1 if flat else side)
        elif kind == _PLANE:
            x, y, z = _0, _0, _1
        elif kind == _CAPSULE:
            thick = max(_1 - first, _LEAST)
            over = max(abs(z) - first, _0) / (thick * thick)
            z = over if z >= _0 else -over
        elif kind == _TORUS:
            outward = _1 - (_1 - first) / max(np.sqrt(x * x + y * y), _LEAST)
            x, y, z = x * outward, y * outward, z * first * first
        elif kind == _SUPERQUADRIC:
            polar, equatorial = max(first, _F(1e-2)), max(second, _F(1e-2))
            a, b, c = (min(max(abs(x), _LEAST), _1), min(max(abs(y), _LEAST), _1), min(max(abs(z), _LEAST), _1))
            q, r = _2 / equatorial, _2 / polar
            across = (a**q + b**q) ** (equatorial / polar - _1)
            a, b, c = across * a ** (q - _1), across * b ** (q - _1), c ** (r - _1)
            x, y, z = (a if x >= _0 else -a), (b if y >= _0 else -b), (c if z >= _0 else -c)
        normal[0, k], normal[1, k], normal[2, k] = x, y, z
