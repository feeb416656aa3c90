"""The tracer for a CPU, compiled by numba: the same answers as `worldgen.scenes.tracing`, several times sooner.

For every bundle of rays the primitives whose bounding balls its cone touches are tried one after the other, each on all
rays of the bundle in one loop without branches, which becomes vector instructions. Shapes that need iterations (torus,
superquadric) go ray by ray.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, no_type_check

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
_CLUSTER = 16  # triangles in a row that share a ball
_OPTIONS = {
    "nogil": True,
    "_nrt": False,  # nothing is allocated inside: counting references would keep loops from becoming vectors
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "arcp"},  # infinities and NaN must stay what they are
}
entry = njit(cache=True, **_OPTIONS)  # type: ignore[call-overload]
# Compiled once more with each caller, and never called from Python: wrappers for that would double the time.
_OPTIONS |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel = njit(**_OPTIONS)  # type: ignore[call-overload]
inlined = njit(forceinline=True, **_OPTIONS)  # type: ignore[call-overload]
spliced = njit(inline="always", **_OPTIONS)  # type: ignore[call-overload]  # with what it calls compiled but once


class Bodies(NamedTuple):
    """`Solids` as arrays, and balls (centre, radius) around the meshes' triangles: each alone, and so many in a row."""

    kind: np.ndarray
    affine: np.ndarray
    form: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    corners: np.ndarray
    owner: np.ndarray
    balls: np.ndarray
    clusters: np.ndarray

    @staticmethod
    def of(solids: "Solids") -> "Bodies":
        """The arrays share the tensors' memory where they can."""
        parts = (solids.kind, solids.unit_from_world, solids.form, solids.centre, solids.reach, solids.corners)
        rows = arrays(*parts, solids.owner)
        pictures, triangles = rows[-1].shape
        balls = np.empty((pictures, triangles, 4), np.float32)
        clusters = np.empty((pictures, -(-triangles // _CLUSTER), 4), np.float32)
        _bound_triangles(rows[5], rows[6], balls, clusters)  # type: ignore[call-arg]
        return Bodies(*rows, balls, clusters)


class Workspace(NamedTuple):
    """Where the tracer works: rays in a primitive's frame, [3, k] each, and the cone around them."""

    o: np.ndarray
    d: np.ndarray
    cone: np.ndarray

    @staticmethod
    def of(rays: int) -> "Workspace":
        """For bundles of so many rays."""
        return Workspace(*np.empty((2, 3, rays), np.float32), np.empty(10, np.float32))


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Contiguous arrays of tensors, without gradients."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def in_threads(work: Callable[[int, int], None], pictures: int) -> None:
    """Do the pictures from one to another, all of them in as many threads as torch uses."""
    threads = min(torch.get_num_threads(), pictures)
    if threads == 1:
        work(0, pictures)
    else:
        edges = [pictures * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, edges[:-1], edges[1:]))


def trace_cpu(solids: "Solids", origin: Tensor, direction: Tensor) -> "Hits":
    """`trace` for float32 tensors on a CPU, in as many threads as torch uses."""
    from worldgen.scenes.tracing import Hits

    pictures, bundles, _, rays = torch.broadcast_shapes(origin.shape, direction.shape)
    t = np.empty((pictures, bundles, rays), np.float32)
    slot, triangle = np.empty(t.shape, np.int32), np.empty(t.shape, np.int32)
    bodies, starts, ends = Bodies.of(solids), *arrays(origin, direction)

    def some(first: int, last: int) -> None:
        _trace(first, last, bodies, starts, ends, Workspace.of(rays), t, slot, triangle)  # type: ignore[call-arg]

    in_threads(some, pictures)
    return Hits(torch.from_numpy(t), torch.from_numpy(slot).long(), torch.from_numpy(triangle).long())


@no_type_check
@entry
def _trace(first, last, bodies, origin, direction, work, t, slot, triangle):
    for p in range(first, last):
        for b in range(t.shape[1]):
            # A shared one has an axis of length 1.
            start, towards = origin[p, b % origin.shape[1]], direction[p, b % direction.shape[1]]
            first_hits(bodies, p, start, towards, work, t[p, b], slot[p, b], triangle[p, b])


@no_type_check
@kernel
def first_hits(bodies, p, start, towards, work, t, slot, triangle):
    """What the rays [3, k or more] of one bundle of picture p hit first: t, slot and triangle [k].

    start, towards  with an axis of length 1 if shared
    """
    for k in range(len(t)):
        t[k], slot[k], triangle[k] = _INF, -1, -1
    o, d, cone = work.o, work.d, work.cone
    _cone_around(start, towards, len(t), cone)
    for n in range(bodies.kind.shape[1]):
        shape = bodies.kind[p, n]
        if shape < 0 or not _touches(cone, bodies.centre[p, n], bodies.reach[p, n]):
            continue
        if shape == _MESH:
            _mesh(bodies, p, n, cone, start, towards, o, d, t, slot, triangle)
            continue
        _to_unit(bodies.affine[p, n], start, towards, o, d, len(t))
        first, second = bodies.form[p, n, 0], bodies.form[p, n, 1]
        if shape == _BALL:
            _ball(o, d, t, slot, triangle, n)
        elif shape == _BOX:
            _box(o, d, t, slot, triangle, n)
        elif shape == _CYLINDER:
            _cylinder(o, d, t, slot, triangle, n)
        elif shape == _CONE:
            _cone(o, d, t, slot, triangle, n)
        elif shape == _CAPSULE:
            _capsule(o, d, first, t, slot, triangle, n)
        elif shape == _PLANE:
            _plane(o, d, t, slot, triangle, n)
        elif shape == _TORUS:
            _torus(o, d, first, t, slot, triangle, n)
        elif shape == _SUPERQUADRIC:
            _superquadric(o, d, first, second, t, slot, triangle, n)


@no_type_check
@spliced
def _mesh(bodies, p, n, cone, start, towards, o, d, t, slot, triangle):
    for k in range(len(t)):
        i, j = min(k, start.shape[1] - 1), min(k, towards.shape[1] - 1)
        for axis in range(3):
            o[axis, k], d[axis, k] = start[axis, i], towards[axis, j]
    for c in range(bodies.clusters.shape[1]):
        if not _touches(cone, bodies.clusters[p, c, :3], bodies.clusters[p, c, 3]):
            continue
        for m in range(c * _CLUSTER, min((c + 1) * _CLUSTER, bodies.owner.shape[1])):
            if bodies.owner[p, m] == n and _touches(cone, bodies.balls[p, m, :3], bodies.balls[p, m, 3]):
                _triangle(bodies.corners[p, m], o, d, t, slot, triangle, n, m)


@no_type_check
@entry
def _bound_triangles(corners, owner, balls, clusters):
    grow = np.float32(1.0001)
    for p in range(corners.shape[0]):
        for m in range(corners.shape[1]):
            ball, far = balls[p, m], _0
            for axis in range(3):
                ball[axis] = (corners[p, m, 0, axis] + corners[p, m, 1, axis] + corners[p, m, 2, axis]) / np.float32(3)
            for corner in range(3):
                far = max(far, _apart(corners[p, m, corner], ball))
            ball[3] = far * grow
        for c in range(clusters.shape[1]):
            ball, count, far = clusters[p, c], 0, -_INF
            ball[:] = _0
            some = range(c * _CLUSTER, min((c + 1) * _CLUSTER, corners.shape[1]))
            for m in some:
                if owner[p, m] >= 0:
                    count += 1
                    for axis in range(3):
                        ball[axis] += balls[p, m, axis]
            for axis in range(3):
                ball[axis] /= np.float32(max(count, 1))
            for m in some:
                if owner[p, m] >= 0:
                    far = max(far, _apart(balls[p, m], ball) + balls[p, m, 3])
            ball[3] = far * grow


@no_type_check
@inlined
def _apart(a, b):
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@no_type_check
@kernel
def _cone_around(start, towards, count, cone):
    """Tip (3) and its radius, axis (3), cosine and sine of the half angle, and whether it is too wide to bound."""
    starts, ends = min(start.shape[1], count), min(towards.shape[1], count)
    for axis in range(3):
        total = _0
        for k in range(starts):
            total += start[axis, k]
        cone[axis], cone[4 + axis] = total / np.float32(starts), _0
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
@kernel
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
@kernel
def _to_unit(affine, start, towards, o, d, count):
    """Rays in a primitive's unit frame."""
    for row in range(3):
        a, b, c, shift = affine[row, 0], affine[row, 1], affine[row, 2], affine[row, 3]
        if start.shape[1] == 1:
            o[row, :count] = a * start[0, 0] + b * start[1, 0] + c * start[2, 0] + shift
        else:
            for k in range(count):
                o[row, k] = a * start[0, k] + b * start[1, k] + c * start[2, k] + shift
        if towards.shape[1] == 1:
            d[row, :count] = a * towards[0, 0] + b * towards[1, 0] + c * towards[2, 0]
        else:
            for k in range(count):
                d[row, k] = a * towards[0, k] + b * towards[1, k] + c * towards[2, k]


# The functions below follow those of the same names in `worldgen/scenes/shapes.py`, which explains their equations.


@no_type_check
@inlined
def _nonzero(x):
    return _TINY if abs(x) < _TINY else x


@no_type_check
@inlined
def _take(near, hit, k, t, slot, triangle, n):
    """Keep a hit if it is ahead and nearer than the one known."""
    better = hit & (near > _0) & (near < t[k])
    t[k] = near if better else t[k]
    slot[k] = n if better else slot[k]
    triangle[k] = -1 if better else triangle[k]


@no_type_check
@inlined
def _interval(a, half_b, c):
    a = _nonzero(a)
    discriminant = half_b * half_b - a * c
    root = np.sqrt(discriminant if discriminant > _0 else _0)
    q = -(half_b + (root if half_b >= _0 else -root))
    first, second = q / a, c / _nonzero(q)
    return (first if first < second else second), (second if first < second else first), discriminant > _0


@no_type_check
@inlined
def _slab(o, d):
    inverse = _1 / _nonzero(d)
    first, second = (-_1 - o) * inverse, (_1 - o) * inverse
    return (first if first < second else second), (second if first < second else first)


@no_type_check
@kernel
def _ball(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, oz, dx, dy, dz = o[0, k], o[1, k], o[2, k], d[0, k], d[1, k], d[2, k]
        near, far, hit = _interval(
            dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - _1
        )
        _take(near, hit & (near < far), k, t, slot, triangle, n)


@no_type_check
@kernel
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
@kernel
def _cylinder(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        ox, oy, dx, dy = o[0, k], o[1, k], d[0, k], d[1, k]
        near, far, hit = _interval(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - _1)
        low, high = _slab(o[2, k], d[2, k])
        near, far = (low if low > near else near), (high if high < far else far)
        _take(near, hit & (near < far), k, t, slot, triangle, n)


@no_type_check
@kernel
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
@kernel
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
@kernel
def _plane(o, d, t, slot, triangle, n):
    for k in range(t.shape[0]):
        _take(-o[2, k] / _nonzero(d[2, k]), o[2, k] > _0, k, t, slot, triangle, n)


@no_type_check
@inlined
def _tube(x, y, z, tube):
    around = np.sqrt(x * x + y * y) - (_1 - tube)
    return np.sqrt(around * around + z * z) - tube


@no_type_check
@kernel
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
@kernel
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
@kernel
def _triangle(corners, o, d, t, slot, triangle, n, m):
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    bx, by, bz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    cx, cy, cz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    for k in range(t.shape[0]):
        dx, dy, dz = d[0, k], d[1, k], d[2, k]
        ox, oy, oz = o[0, k] - ax, o[1, k] - ay, o[2, k] - az
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
