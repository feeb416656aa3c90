"""The tracer for a CPU, compiled by numba: the same answers as `worldgen.scenes.tracing`, several times sooner.

For every bundle of rays the primitives whose bounding balls its cone touches are tried one after the other, each on all
rays of the bundle in one loop without branches, which becomes vector instructions. Shapes that need iterations (torus,
superquadric) go ray by ray.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from worldgen.scenes.shapes import Shape

if TYPE_CHECKING:
    from worldgen.scenes.tracing import Hits, Solids

_BALL, _BOX, _CYLINDER, _CONE = int(Shape.BALL), int(Shape.BOX), int(Shape.CYLINDER), int(Shape.CONE)
_CAPSULE, _TORUS, _PLANE = int(Shape.CAPSULE), int(Shape.TORUS), int(Shape.PLANE)
_SUPERQUADRIC, _MESH = int(Shape.SUPERQUADRIC), int(Shape.MESH)
# Plain numbers would turn every product into a double.
_0, _1, _HALF, _INF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.inf)
_TINY, _LEAST = np.float32(1e-9), np.float32(1e-30)
_FLAGS = {"contract", "nsz", "arcp"}  # infinities and NaN must stay what they are


def trace_cpu(solids: "Solids", origin: Tensor, direction: Tensor) -> "Hits":
    """`trace` for float32 tensors on a CPU, in as many threads as torch uses."""
    from worldgen.scenes.tracing import Hits

    pictures, bundles, _, rays = torch.broadcast_shapes(origin.shape, direction.shape)
    t = np.full((pictures, bundles, rays), np.inf, np.float32)
    slot, triangle = np.full(t.shape, -1, np.int32), np.full(t.shape, -1, np.int32)
    columns = [
        part.detach().contiguous().numpy()
        for part in (solids.kind, solids.unit_from_world, solids.form, solids.centre, solids.reach, solids.corners)
    ]
    rows = [
        *columns,
        solids.owner.contiguous().numpy(),
        *(x.detach().contiguous().numpy() for x in (origin, direction)),
    ]

    def some(part: slice) -> None:
        _trace(*(row[part] for row in rows), t[part], slot[part], triangle[part])  # type: ignore[call-arg]

    threads = min(torch.get_num_threads(), pictures)
    if threads == 1:
        some(slice(None))
    else:
        edges = [pictures * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, [slice(*pair) for pair in pairwise(edges)]))
    return Hits(torch.from_numpy(t), torch.from_numpy(slot).long(), torch.from_numpy(triangle).long())


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _trace(kind, affine, form, centre, reach, corners, owner, origin, direction, t, slot, triangle):
    pictures, bundles, rays = t.shape
    o, d = np.empty((3, rays), np.float32), np.empty((3, rays), np.float32)
    cone = np.empty(10, np.float32)
    balls = np.empty((corners.shape[1], 4), np.float32)
    for p in range(pictures):
        _triangle_balls(corners[p], balls)
        for b in range(bundles):
            start = origin[p, b % origin.shape[1]]  # a shared one has an axis of length 1
            towards = direction[p, b % direction.shape[1]]
            _cone_around(start, towards, cone)
            for n in range(kind.shape[1]):
                shape = kind[p, n]
                if shape < 0 or not _touches(cone, centre[p, n], reach[p, n]):
                    continue
                if shape == _MESH:
                    for m in range(owner.shape[1]):
                        if owner[p, m] == n and _touches(cone, balls[m, :3], balls[m, 3]):
                            _triangle(corners[p, m], start, towards, t[p, b], slot[p, b], triangle[p, b], n, m)
                    continue
                _to_unit(affine[p, n], start, towards, o, d)
                first, second = form[p, n, 0], form[p, n, 1]
                if shape == _BALL:
                    _ball(o, d, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _BOX:
                    _box(o, d, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _CYLINDER:
                    _cylinder(o, d, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _CONE:
                    _cone(o, d, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _CAPSULE:
                    _capsule(o, d, first, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _PLANE:
                    _plane(o, d, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _TORUS:
                    _torus(o, d, first, t[p, b], slot[p, b], triangle[p, b], n)
                elif shape == _SUPERQUADRIC:
                    _superquadric(o, d, first, second, t[p, b], slot[p, b], triangle[p, b], n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _triangle_balls(corners, balls):
    """A ball (centre, radius) around each triangle."""
    for m in range(len(corners)):
        far = _0
        for axis in range(3):
            balls[m, axis] = (corners[m, 0, axis] + corners[m, 1, axis] + corners[m, 2, axis]) / np.float32(3)
        for corner in range(3):
            away = _0
            for axis in range(3):
                away += (corners[m, corner, axis] - balls[m, axis]) ** 2
            far = max(far, away)
        balls[m, 3] = np.sqrt(far) * np.float32(1.0001)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _cone_around(start, towards, cone):
    """Tip (3) and its radius, axis (3), cosine and sine of the half angle, and whether it is too wide to bound."""
    starts, ends = start.shape[1], towards.shape[1]
    for axis in range(3):
        cone[axis] = start[axis].sum() / np.float32(starts)
        cone[4 + axis] = _0
    far = _0
    for k in range(starts):
        far = max(far, (start[0, k] - cone[0]) ** 2 + (start[1, k] - cone[1]) ** 2 + (start[2, k] - cone[2]) ** 2)
    cone[3] = np.sqrt(far)
    for k in range(ends):
        scale = _1 / np.sqrt(max(towards[0, k] ** 2 + towards[1, k] ** 2 + towards[2, k] ** 2, _LEAST))
        for axis in range(3):
            cone[4 + axis] += towards[axis, k] * scale
    scale = np.sqrt(cone[4] ** 2 + cone[5] ** 2 + cone[6] ** 2)
    if not scale > np.float32(1e-6):
        cone[9] = _1
        return
    for axis in range(3):
        cone[4 + axis] /= scale
    widest = _0  # the longest chord, since the cosine knows nothing of small angles
    for k in range(ends):
        scale = _1 / np.sqrt(max(towards[0, k] ** 2 + towards[1, k] ** 2 + towards[2, k] ** 2, _LEAST))
        x, y, z = towards[0, k] * scale - cone[4], towards[1, k] * scale - cone[5], towards[2, k] * scale - cone[6]
        widest = max(widest, x * x + y * y + z * z)
    half = np.sqrt(widest) * _HALF + np.float32(1e-4)
    cone[9] = _1 if half > np.float32(0.6) else _0
    half = min(half, np.float32(0.7))
    cone[7] = _1 - np.float32(2) * half * half
    cone[8] = np.float32(2) * half * np.sqrt(_1 - half * half)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _touches(cone, centre, radius):
    """Whether a ball may meet a ray of the cone; an endless one always does."""
    if cone[9] > _HALF or radius == _INF:
        return True
    x, y, z = centre[0] - cone[0], centre[1] - cone[1], centre[2] - cone[2]
    square = x * x + y * y + z * z
    along = x * cone[4] + y * cone[5] + z * cone[6]
    reach = radius + cone[3] + np.float32(1e-5) * np.sqrt(square)
    if square <= reach * reach:
        return True
    across = np.sqrt(max(square - along * along, _0))
    return along > -reach and across * cone[7] - along * cone[8] <= reach


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _to_unit(affine, start, towards, o, d):
    """Rays in a primitive's unit frame."""
    for row in range(3):
        a, b, c, shift = affine[row, 0], affine[row, 1], affine[row, 2], affine[row, 3]
        if start.shape[1] == 1:
            o[row] = a * start[0, 0] + b * start[1, 0] + c * start[2, 0] + shift
        else:
            for k in range(o.shape[1]):
                o[row, k] = a * start[0, k] + b * start[1, k] + c * start[2, k] + shift
        if towards.shape[1] == 1:
            d[row] = a * towards[0, 0] + b * towards[1, 0] + c * towards[2, 0]
        else:
            for k in range(d.shape[1]):
                d[row, k] = a * towards[0, k] + b * towards[1, k] + c * towards[2, k]


# The functions below follow those of the same names in `worldgen/scenes/shapes.py`, which explains their equations.


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _nonzero(x):
    return _TINY if abs(x) < _TINY else x


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _take(near, hit, k, t, slot, triangle, n):
    """Keep a hit if it is ahead and nearer than the one known."""
    better = hit & (near > _0) & (near < t[k])
    t[k] = near if better else t[k]
    slot[k] = n if better else slot[k]
    triangle[k] = -1 if better else triangle[k]


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _interval(a, half_b, c):
    a = _nonzero(a)
    discriminant = half_b * half_b - a * c
    root = np.sqrt(discriminant if discriminant > _0 else _0)
    q = -(half_b + (root if half_b >= _0 else -root))
    first, second = q / a, c / _nonzero(q)
    return (first if first < second else second), (second if first < second else first), discriminant > _0


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _slab(o, d):
    inverse = _1 / _nonzero(d)
    first, second = (-_1 - o) * inverse, (_1 - o) * inverse
    return (first if first < second else second), (second if first < second else first)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _ball(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, oz, dx, dy, dz = o[0, k], o[1, k], o[2, k], d[0, k], d[1, k], d[2, k]
        near, far, hit = _interval(
            dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - _1
        )
        _take(near, hit & (near < far), k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _box(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        near, far = _slab(o[0, k], d[0, k])
        near_y, far_y = _slab(o[1, k], d[1, k])
        near_z, far_z = _slab(o[2, k], d[2, k])
        near = near_y if near_y > near else near
        near = near_z if near_z > near else near
        far = far_y if far_y < far else far
        far = far_z if far_z < far else far
        _take(near, near < far, k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _cylinder(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, dx, dy = o[0, k], o[1, k], d[0, k], d[1, k]
        near, far, hit = _interval(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - _1)
        low, high = _slab(o[2, k], d[2, k])
        near, far = (low if low > near else near), (high if high < far else far)
        _take(near, hit & (near < far), k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _cone(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, oz, dx, dy, dz = o[0, k], o[1, k], o[2, k], d[0, k], d[1, k], d[2, k]
        half, slope = (_1 - oz) * _HALF, -dz * _HALF
        first, second, hit = _interval(
            dx * dx + dy * dy - slope * slope, ox * dx + oy * dy - half * slope, ox * ox + oy * oy - half * half
        )
        base = (-_1 - oz) / _nonzero(dz)
        x, y = ox + base * dx, oy + base * dy
        base = base if x * x + y * y <= _1 else _INF
        first = first if hit & (abs(oz + first * dz) <= _1) else _INF
        second = second if hit & (abs(oz + second * dz) <= _1) else _INF
        near = first if first < second else second
        near = base if base < near else near  # behind the start if any is: then the start is inside, or past it
        _take(near, True, k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _capsule(o, d, straight, t, slot, triangle, n):
    stretch = _1 / (_1 - straight)
    for k in range(t.shape[0]):
        ox, oy, oz, dx, dy, dz = o[0, k], o[1, k], o[2, k], d[0, k], d[1, k], d[2, k]
        square, half_b, rest = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - _1
        near, far, hit = _interval(square, half_b, rest)
        inverse = _1 / _nonzero(dz)
        middle, reach = -oz * inverse, abs(straight * inverse)
        near = middle - reach if middle - reach > near else near
        far = middle + reach if middle + reach < far else far
        through = hit & (near < far)
        near, far = (near if through else _INF), (far if through else -_INF)
        dz = dz * stretch
        low, high = (oz + straight) * stretch, (oz - straight) * stretch
        first, last, touched = _interval(square + dz * dz, half_b + low * dz, rest + low * low)
        near, far = (first if touched & (first < near) else near), (last if touched & (last > far) else far)
        first, last, touched = _interval(square + dz * dz, half_b + high * dz, rest + high * high)
        near, far = (first if touched & (first < near) else near), (last if touched & (last > far) else far)
        _take(near, near < far, k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _plane(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        _take(-o[2, k] / _nonzero(d[2, k]), o[2, k] > _0, k, t, slot, triangle, n)


@no_type_check
@njit(inline="always", fastmath=_FLAGS, error_model="numpy")
def _tube(x, y, z, tube):
    around = np.sqrt(x * x + y * y) - (_1 - tube)
    return np.sqrt(around * around + z * z) - tube


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _torus(o, d, tube, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, oz, dx, dy, dz = o[0, k], o[1, k], o[2, k] * tube, d[0, k], d[1, k], d[2, k] * tube
        square = dx * dx + dy * dy + dz * dz
        near, far, hit = _interval(
            square, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - np.float32(1.0001)
        )
        s = near if near > _0 else _0
        if not hit or far <= _0 or s >= t[k] or _tube(ox + s * dx, oy + s * dy, oz + s * dz, tube) <= _0:
            continue
        length = np.sqrt(square)
        for _ in range(64):
            gap = _tube(ox + s * dx, oy + s * dy, oz + s * dz, tube)
            s += gap / length
            if gap < np.float32(1e-6) or s > far:
                break
        step = np.float32(1e-3) / length
        for _ in range(2):
            gap = _tube(ox + s * dx, oy + s * dy, oz + s * dz, tube)
            e = s + step
            slope = (_tube(ox + e * dx, oy + e * dy, oz + e * dz, tube) - gap) * np.float32(1e3)
            s -= (gap / slope if slope < np.float32(-1e-2) else -gap) / length
        gap = _tube(ox + s * dx, oy + s * dy, oz + s * dz, tube)
        _take(s, (s < far) & (gap < np.float32(1e-4)), k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _superquadric(o, d, polar, equatorial, t, slot, triangle, n):
    p, q = np.float32(2) / polar, np.float32(2) / equatorial
    least = np.float32(1e-6)
    for k in range(t.shape[0]):
        near, far = _slab(o[0, k], d[0, k])
        near_y, far_y = _slab(o[1, k], d[1, k])
        near_z, far_z = _slab(o[2, k], d[2, k])
        near, far = max(near, near_y, near_z), min(far, far_y, far_z)
        if not (near < far and far > _0) or near >= t[k]:
            continue
        s, value = max(near, _0), _0
        for step in range(16):
            x, y, z = o[0, k] + s * d[0, k], o[1, k] + s * d[1, k], o[2, k] + s * d[2, k]
            dx = -d[0, k] if x < _0 else d[0, k]
            dy = -d[1, k] if y < _0 else d[1, k]
            dz = -d[2, k] if z < _0 else d[2, k]
            x, y, z = max(abs(x), least), max(abs(y), least), max(abs(z), least)
            xq, yq, zp = x ** (q - _1), y ** (q - _1), z ** (p - _1)
            ring = xq * x + yq * y
            share = ring ** (equatorial / polar - _1)
            total = share * ring + zp * z
            scale = total ** (polar * _HALF - _1)
            value = scale * total
            slope = scale * (share * (xq * dx + yq * dy) + zp * dz)
            if step == 0 and value <= _1:
                s = -_1  # a start inside
                break
            if abs(value - _1) < np.float32(1e-6):
                break
            if slope >= _0:
                if abs(value - _1) >= np.float32(1e-5):
                    s = -_1
                break
            s += (_1 - value) / slope
            if s > far + np.float32(1e-4):
                s = -_1
                break
        _take(s, abs(value - _1) < np.float32(1e-2), k, t, slot, triangle, n)


@no_type_check
@njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")
def _triangle(corners, start, towards, t, slot, triangle, n, m):
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    bx, by, bz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    cx, cy, cz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    shared_start, shared_end = start.shape[1] == 1, towards.shape[1] == 1
    for k in range(t.shape[0]):
        i, j = (0 if shared_start else k), (0 if shared_end else k)
        dx, dy, dz = towards[0, j], towards[1, j], towards[2, j]
        ox, oy, oz = start[0, i] - ax, start[1, i] - ay, start[2, i] - az
        px, py, pz = dy * cz - dz * cy, dz * cx - dx * cz, dx * cy - dy * cx
        volume = bx * px + by * py + bz * pz
        inverse = _1 / (_LEAST if abs(volume) < _LEAST else volume)
        qx, qy, qz = oy * bz - oz * by, oz * bx - ox * bz, ox * by - oy * bx
        u, v = (ox * px + oy * py + oz * pz) * inverse, (dx * qx + dy * qy + dz * qz) * inverse
        near = (cx * qx + cy * qy + cz * qz) * inverse
        hit = (u >= _0) & (v >= _0) & (u + v <= _1) & (abs(volume) > _LEAST)
        better = hit & (near > _0) & (near < t[k])
        t[k] = near if better else t[k]
        slot[k] = n if better else slot[k]
        triangle[k] = m if better else triangle[k]
