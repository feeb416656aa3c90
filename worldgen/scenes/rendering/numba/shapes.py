"""Rays against single primitives.

The functions follow those of the same names in `worldgen/scenes/rendering/torch/shapes.py`, which explains their
equations. Each tries all rays of a bundle in one loop without branches, which the compiler vectorizes; shapes that need
iterations (torus, superquadric) are done ray by ray.
"""

from typing import no_type_check

import numpy as np

from worldgen.scenes.rendering.numba.compiling import inlined, kernel, spliced
from worldgen.scenes.shapes import Shape

_BALL, _BOX, _CYLINDER, _CONE = int(Shape.BALL), int(Shape.BOX), int(Shape.CYLINDER), int(Shape.CONE)
_CAPSULE, _TORUS, _PLANE = int(Shape.CAPSULE), int(Shape.TORUS), int(Shape.PLANE)
_SUPERQUADRIC = int(Shape.SUPERQUADRIC)
# Plain numbers would turn every product into a double.
_0, _1, _HALF, _INF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.inf)
_TINY, _LEAST = np.float32(1e-9), np.float32(1e-30)


@no_type_check
@spliced
def enter(shape, first, second, o, d, t, slot, triangle, n):
    """Keep the hits of rays with primitive n, in its own frame, that are ahead and nearer than those known."""
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
        near = base if base < near else near  # behind the start if any is: it then starts inside or past the cone
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
                s = -_1  # it starts inside
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
def enter_triangle(corners, o, d, t, slot, triangle, n, m):
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
