"""Surfaces, light and flow for a CPU, compiled by numba: what `shading.py` and `render.py` say in torch, ray by ray.

Elementwise torch goes through memory once an operation; here a ray's numbers stay in registers. Textures stay torch's
(`worldgen.scenes.textures.evaluate`), but for plain colours. Float32 without gradients only.
"""

from typing import TYPE_CHECKING, Any, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern, evaluate

if TYPE_CHECKING:
    from worldgen.scenes.scene import Scene
    from worldgen.scenes.shading import Surfaces
    from worldgen.scenes.tracing import Hits, Solids

_BALL, _BOX, _CYLINDER, _CONE = int(Shape.BALL), int(Shape.BOX), int(Shape.CYLINDER), int(Shape.CONE)
_CAPSULE, _TORUS, _PLANE = int(Shape.CAPSULE), int(Shape.TORUS), int(Shape.PLANE)
_SUPERQUADRIC = int(Shape.SUPERQUADRIC)
_0, _1, _HALF, _INF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.inf)
_2, _QUARTER, _TINY, _LEAST = np.float32(2), np.float32(0.25), np.float32(1e-12), np.float32(1e-6)
_PATTERN, _GRAIN = 23, 24  # columns of a texture's row
_FLAGS = {"contract", "nsz", "arcp"}  # infinities and NaN must stay what they are


def directions_cpu(world_from_pixel: Tensor, hw: tuple[int, int], side: int) -> Tensor:
    """Rays [p, t, 3, k] through the pixel centres of pictures in square bundles of `side`, by 3x3 matrices [p, 3, 3].

    Bundles over the lower and right edge repeat the last rays.
    """
    down, across = -(-hw[0] // side), -(-hw[1] // side)
    rays = torch.empty(len(world_from_pixel), down * across, 3, side * side)
    _directions(world_from_pixel.detach().contiguous().numpy(), hw[0], hw[1], across, side, rays.numpy())
    return rays


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _directions(matrix, height, width, across, side, rays):
    for p in range(rays.shape[0]):
        for b in range(rays.shape[1]):
            top, left = b // across * side, b % across * side
            for y in range(side):
                v = np.float32(min(top + y, height - 1)) + _HALF
                for c in range(3):
                    start = matrix[p, c, 1] * v + matrix[p, c, 2]
                    for x in range(side):
                        u = np.float32(min(left + x, width - 1)) + _HALF
                        rays[p, b, c, y * side + x] = matrix[p, c, 0] * u + start


def meet_cpu(scene: "Scene", solids: "Solids", which: Tensor, hits: "Hits", origin: Tensor, direction: Tensor) -> Any:
    """`worldgen.scenes.shading.surfaces`."""
    from worldgen.scenes.shading import SHADOW_BIAS, Surfaces

    n, slots = hits.t.numel(), solids.kind.shape[1]
    vectors = _streams(4, 3, n)
    t, row = np.empty(n, np.float32), np.empty(n, np.int64)
    bodies = _arrays(solids.kind, solids.unit_from_world, solids.form, solids.corners, scene.size, which)
    rays = _arrays(hits.t, hits.slot, hits.triangle, origin, direction)
    start = torch.empty(*hits.t.shape[:2], 3, hits.t.shape[2])
    _meet(*bodies, *rays, np.float32(SHADOW_BIAS), vectors, t, row, start.numpy())  # type: ignore[call-arg]
    primitive = torch.from_numpy(row)
    point, local, normal, local_normal = torch.from_numpy(vectors)
    hit = hits.slot.reshape(-1) >= 0
    return Surfaces(hit, primitive // slots, primitive, torch.from_numpy(t), point, local, normal, local_normal, start)


def albedo_cpu(columns: Tensor, seen: "Surfaces", pixel: Tensor | None, direction: Tensor) -> Tensor:
    """The diffuse colour [3, n] of each ray's end, black where nothing is met; textures' `columns` [25, b n].

    pixel  [p] as in `worldgen.scenes.shading.shade`;  direction  [p, t, 3, k]
    """
    colour = torch.empty_like(seen.point)
    textured = np.empty(len(seen.hit), np.bool_)
    _plain_colours(*_arrays(columns, seen.hit, seen.primitive), colour.numpy(), textured)  # type: ignore[call-arg]
    chosen = torch.from_numpy(textured).nonzero().squeeze(-1)
    if len(chosen):
        width = None
        if pixel is not None:
            picture, rays = chosen // direction[0, :, 0].numel(), direction.movedim(2, -1).reshape(-1, 3)
            width = pixel[picture] * rays[chosen].square().sum(-1).sqrt() * seen.t[chosen]
        points, normals = seen.local[:, chosen], seen.local_normal[:, chosen]
        colour[:, chosen] = evaluate(columns, seen.primitive[chosen], points, normals, width)
    return colour


def light_cpu(
    scene: "Scene", which: Tensor, hits: "Hits", seen: "Surfaces", direction: Tensor, albedo: Tensor,
    lit: Tensor, lamps_lit: Tensor,
) -> Tensor:  # fmt: skip
    """The light [3, n] along each ray, from its end's colour and what reaches it: the sun [n], lamps [l, n]."""
    light, material = scene.light, scene.material
    look = torch.stack([material.gloss, material.shine, material.glow, material.haze_m], -1).flatten(0, 1)
    sky = torch.stack([light.to_sun, light.sun, light.ambient, light.horizon, light.zenith], 1)
    result = torch.empty_like(seen.point)
    lights = _arrays(look, sky, light.lamp, light.lamp_colour, which, hits.t, direction)
    ends = _arrays(seen.hit, seen.primitive, seen.t, seen.point, seen.normal, albedo, lit, lamps_lit)
    _light(*lights, *ends, result.numpy())  # type: ignore[call-arg]
    return result


def flow_cpu(
    image: tuple[Tensor, Tensor], eye: Tensor, solids: "Solids", size: Tensor, which: Tensor, last: Tensor,
    grazing: float, hits: "Hits", seen: "Surfaces", origin: Tensor, direction: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Flow [2, n], scene flow [3, n], pixel [2, n] in the next frame, whether it is ahead [n] of that camera, and the
    direction there [p, t, 3, k].

    image   [p, 4, 3] rows of K R^T and the forward axis, of this frame's cameras and the next one's
    eye     [p, 3] the next cameras' centres;  solids  of the next moment;  size  [p, s, 3]
    which   [p] the pictures' scenes
    last    [p] no next frame;  grazing  sine of the least angle to the image plane
    """
    n = hits.t.numel()
    vectors, ahead = _streams(7, n), np.empty(n, np.bool_)
    towards = torch.empty(*hits.t.shape[:2], 3, hits.t.shape[2])
    views = _arrays(*image, eye, solids.unit_from_world, solids.centre, size, which, last, hits.t)
    ends = _arrays(seen.hit, seen.primitive, seen.point, seen.local, origin, direction)
    _flow(*views, *ends, np.float32(grazing), vectors, ahead, towards.numpy())  # type: ignore[call-arg]
    flow, motion, uv = torch.from_numpy(vectors).split([2, 3, 2])
    return flow, motion, uv, torch.from_numpy(ahead), towards


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    dense = (x if x.dim() and x.stride(-1) == 1 else x.contiguous() for x in (x.detach() for x in tensors))
    return [x.numpy() for x in dense]


def _streams(*shape: int) -> np.ndarray:
    """Uninitialised rows whose distance is no power of two: written side by side, such ones share few cache lines."""
    return np.empty((*shape[:-1], shape[-1] + 272), np.float32)[..., : shape[-1]]


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _unit_normal(kind, x, y, z, first, second):
    """`worldgen.scenes.shapes.unit_normal` of one point."""
    if kind == _BOX:
        most = max(abs(x), abs(y), abs(z))
        return (x if abs(x) >= most else _0), (y if abs(y) >= most else _0), (z if abs(z) >= most else _0)
    if kind in (_CYLINDER, _CONE):
        across = np.sqrt(x * x + y * y)
        flat = abs(z) >= across if kind == _CYLINDER else z < -_1 + np.float32(1e-3)
        if flat:
            return _0, _0, (_1 if z > _0 else (-_1 if z < _0 else _0))
        return x, y, (across * _HALF if kind == _CONE else _0)
    if kind == _PLANE:
        return _0, _0, _1
    if kind == _CAPSULE:
        thick = max(_1 - first, _LEAST)
        over = max(abs(z) - first, _0) / (thick * thick)
        return x, y, (over if z >= _0 else -over)
    if kind == _TORUS:
        outward = _1 - (_1 - first) / max(np.sqrt(x * x + y * y), _LEAST)
        return x * outward, y * outward, z * first * first
    if kind == _SUPERQUADRIC:
        polar, equatorial = max(first, np.float32(1e-2)), max(second, np.float32(1e-2))
        a, b, c = (min(max(abs(x), _LEAST), _1), min(max(abs(y), _LEAST), _1), min(max(abs(z), _LEAST), _1))
        q, p = _2 / equatorial, _2 / polar
        across = (a**q + b**q) ** (equatorial / polar - _1)
        a, b, c = across * a ** (q - _1), across * b ** (q - _1), c ** (p - _1)
        return (a if x >= _0 else -a), (b if y >= _0 else -b), (c if z >= _0 else -c)
    return x, y, z


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _meet(
    kind, affine, form, corners, size, which, t, slot, triangle, origin, direction, bias, vectors, reach, row, start
):
    pictures, bundles, rays = t.shape
    n = -1
    for p in range(pictures):
        matrix, extent, shape, form_of, corner = affine[p], size[which[p]], kind[p], form[p], corners[p]
        for b in range(bundles):
            o, d = origin[p, b % origin.shape[1]], direction[p, b % direction.shape[1]]
            for k in range(rays):
                n += 1
                i, j = min(k, o.shape[1] - 1), min(k, d.shape[1] - 1)  # shared ones have an axis of length 1
                s = max(slot[p, b, k], 0)
                row[n] = which[p] * kind.shape[1] + s
                far = t[p, b, k] if slot[p, b, k] >= 0 else _1
                reach[n] = far
                x, y, z = o[0, i] + far * d[0, j], o[1, i] + far * d[1, j], o[2, i] + far * d[2, j]
                u = matrix[s, 0, 0] * x + matrix[s, 0, 1] * y + matrix[s, 0, 2] * z + matrix[s, 0, 3]
                v = matrix[s, 1, 0] * x + matrix[s, 1, 1] * y + matrix[s, 1, 2] * z + matrix[s, 1, 3]
                w = matrix[s, 2, 0] * x + matrix[s, 2, 1] * y + matrix[s, 2, 2] * z + matrix[s, 2, 3]
                vectors[0, 0, n], vectors[0, 1, n], vectors[0, 2, n] = x, y, z
                vectors[1, 0, n], vectors[1, 1, n], vectors[1, 2, n] = (
                    u * extent[s, 0],
                    v * extent[s, 1],
                    w * extent[s, 2],
                )
                if triangle[p, b, k] >= 0:
                    g = triangle[p, b, k]
                    ax, ay, az = corner[g, 0, 0], corner[g, 0, 1], corner[g, 0, 2]
                    bx, by, bz = corner[g, 1, 0] - ax, corner[g, 1, 1] - ay, corner[g, 1, 2] - az
                    cx, cy, cz = corner[g, 2, 0] - ax, corner[g, 2, 1] - ay, corner[g, 2, 2] - az
                    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
                    if nx * d[0, j] + ny * d[1, j] + nz * d[2, j] > _0:
                        nx, ny, nz = -nx, -ny, -nz
                    # The rows of the matrix are those of the rotation over the size: times it, they turn back.
                    for axis in range(3):
                        turned = matrix[s, axis, 0] * nx + matrix[s, axis, 1] * ny + matrix[s, axis, 2] * nz
                        vectors[3, axis, n] = turned * extent[s, axis]
                else:
                    a, e, f = _unit_normal(shape[s], u, v, w, form_of[s, 0], form_of[s, 1])
                    nx = matrix[s, 0, 0] * a + matrix[s, 1, 0] * e + matrix[s, 2, 0] * f
                    ny = matrix[s, 0, 1] * a + matrix[s, 1, 1] * e + matrix[s, 2, 1] * f
                    nz = matrix[s, 0, 2] * a + matrix[s, 1, 2] * e + matrix[s, 2, 2] * f
                    vectors[3, 0, n], vectors[3, 1, n], vectors[3, 2, n] = (
                        a / extent[s, 0],
                        e / extent[s, 1],
                        f / extent[s, 2],
                    )
                scale = _1 / max(np.sqrt(nx * nx + ny * ny + nz * nz), _TINY)
                nx, ny, nz = nx * scale, ny * scale, nz * scale
                vectors[2, 0, n], vectors[2, 1, n], vectors[2, 2, n] = nx, ny, nz
                met = _1 if slot[p, b, k] >= 0 else _0
                start[p, b, 0, k], start[p, b, 1, k] = met * (x + bias * nx), met * (y + bias * ny)
                start[p, b, 2, k] = met * (z + bias * nz)


_PLAIN = int(Pattern.PLAIN)


@no_type_check
@njit(cache=True, nogil=True)
def _plain_colours(columns, hit, row, colour, textured):
    for n in range(len(row)):
        r = row[n]
        plain = columns[_PATTERN, r] == _PLAIN and not columns[_GRAIN, r] > _0
        textured[n] = hit[n] and not plain
        for c in range(3):
            colour[c, n] = columns[c, r] if hit[n] and plain else _0


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _reflection(nx, ny, nz, lx, ly, lz, ex, ey, ez, gloss, shine):
    """Shares of the albedo and of white that a surface sends to the eye: Lambert, Blinn-Phong."""
    facing = max(nx * lx + ny * ly + nz * lz, _0)
    if not (gloss > _0 and facing > _0):
        return facing, _0
    hx, hy, hz = lx + ex, ly + ey, lz + ez
    aligned = (nx * hx + ny * hy + nz * hz) / max(np.sqrt(hx * hx + hy * hy + hz * hz), _LEAST)
    return facing, gloss * min(max(aligned, np.float32(1e-4)), _1) ** shine


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _light(
    look, sky, lamp, lamp_colour, which, t, direction, hit, row, reach, point, normal, albedo, lit, lamps_lit, result
):
    pictures, bundles, rays = t.shape
    n = -1
    for p in range(pictures):
        scene = which[p]
        sun_at, sun, ambient, horizon, zenith = sky[scene]
        for b in range(bundles):
            d = direction[p, b % direction.shape[1]]
            for k in range(rays):
                n += 1
                j = min(k, d.shape[1] - 1)
                length = np.sqrt(d[0, j] * d[0, j] + d[1, j] * d[1, j] + d[2, j] * d[2, j])
                ex, ey, ez = -d[0, j] / length, -d[1, j] / length, -d[2, j] / length
                if not hit[n]:
                    up = np.sqrt(max(-ez, _0))
                    for c in range(3):
                        result[c, n] = horizon[c] + up * (zenith[c] - horizon[c])
                    continue
                r = row[n]
                gloss, shine, glow, haze_m = look[r, 0], look[r, 1], look[r, 2], look[r, 3]
                nx, ny, nz = normal[0, n], normal[1, n], normal[2, n]
                around = np.float32(0.75) + _QUARTER * nz
                facing, shining = _0, _0
                if lit[n]:
                    facing, shining = _reflection(nx, ny, nz, sun_at[0], sun_at[1], sun_at[2], ex, ey, ez, gloss, shine)
                for c in range(3):
                    a = albedo[c, n]
                    result[c, n] = a * (ambient[c] * around + glow) + sun[c] * (a * facing + shining)
                for q in range(lamps_lit.shape[0]):
                    if not lamps_lit[q, n]:
                        continue
                    lx, ly = lamp[scene, q, 0] - point[0, n], lamp[scene, q, 1] - point[1, n]
                    lz = lamp[scene, q, 2] - point[2, n]
                    away = max(np.sqrt(lx * lx + ly * ly + lz * lz), np.float32(0.2))
                    facing, shining = _reflection(nx, ny, nz, lx / away, ly / away, lz / away, ex, ey, ez, gloss, shine)
                    for c in range(3):
                        result[c, n] += lamp_colour[scene, q, c] / (away * away) * (albedo[c, n] * facing + shining)
                if haze_m < _INF:
                    share = length * reach[n] / haze_m
                    clear = np.exp(-share * share)
                    for c in range(3):
                        result[c, n] = horizon[c] + clear * (result[c, n] - horizon[c])


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _seen_at(m, x, y, z):
    """Pixel and z-depth of a point given from a camera's centre, by the rows of K R^T and the forward axis."""
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
    w = np.float32(1e-9) if abs(w) < np.float32(1e-9) else w
    u, v = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z, m[1, 0] * x + m[1, 1] * y + m[1, 2] * z
    return u / w, v / w, m[3, 0] * x + m[3, 1] * y + m[3, 2] * z


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _flow(
    here, there, eye, affine, centre, size, which, last, t, hit, row, point, local, origin, direction, grazing,
    vectors, ahead, towards,
):  # fmt: skip
    pictures, bundles, rays = t.shape
    n = -1
    for p in range(pictures):
        first = which[p] * affine.shape[1]
        matrix, extent, middle, now, later = affine[p], size[p], centre[p], here[p], there[p]
        for b in range(bundles):
            o, d = origin[p, b % origin.shape[1]], direction[p, b % direction.shape[1]]
            for k in range(rays):
                n += 1
                i, j = min(k, o.shape[1] - 1), min(k, d.shape[1] - 1)  # shared ones have an axis of length 1
                x, y, z = d[0, j], d[1, j], d[2, j]  # the sky is infinitely far
                hx, hy, hz = x, y, z
                mx, my, mz = _0, _0, _0
                if hit[n]:
                    s = row[n] - first
                    a, e, f = local[0, n] * extent[s, 0], local[1, n] * extent[s, 1], local[2, n] * extent[s, 2]
                    mx = matrix[s, 0, 0] * a + matrix[s, 1, 0] * e + matrix[s, 2, 0] * f + middle[s, 0]
                    my = matrix[s, 0, 1] * a + matrix[s, 1, 1] * e + matrix[s, 2, 1] * f + middle[s, 1]
                    mz = matrix[s, 0, 2] * a + matrix[s, 1, 2] * e + matrix[s, 2, 2] * f + middle[s, 2]
                    x, y, z = mx - eye[p, 0], my - eye[p, 1], mz - eye[p, 2]
                    hx, hy, hz = point[0, n] - o[0, i], point[1, n] - o[1, i], point[2, n] - o[2, i]
                    mx, my, mz = mx - point[0, n], my - point[1, n], mz - point[2, n]
                u, v, deep = _seen_at(later, x, y, z)
                u0, v0, _ = _seen_at(now, hx, hy, hz)
                ahead[n] = deep > grazing * np.sqrt(x * x + y * y + z * z) and not last[p]
                vectors[0, n], vectors[1, n] = (u - u0, v - v0) if ahead[n] else (_0, _0)
                moves = hit[n] and not last[p]
                vectors[2, n], vectors[3, n], vectors[4, n] = (mx, my, mz) if moves else (_0, _0, _0)
                vectors[5, n], vectors[6, n] = u, v
                towards[p, b, 0, k], towards[p, b, 1, k], towards[p, b, 2, k] = x, y, z
