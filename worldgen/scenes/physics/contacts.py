"""Contact points and normals of balls and boxes with each other and the ground, compiled by numba.

Boxes: the separating axis test over 15 axes, then the faces clipped against each other or the nearest points of two
edges (Gottschalk, Lin and Manocha 1996; Ericson, Real-Time Collision Detection, 2005, sections 4.4 and 5.1.9).
"""

from typing import no_type_check

import numpy as np
from numba import njit

from worldgen.scenes.shapes import Shape

_BALL = int(Shape.BALL)
_FLAT = 0.95  # an edge pair is taken only where it is this much shallower than a face


@no_type_check
@njit(nogil=True)
def rotate(q, v):
    """A vector turned by a unit quaternion (w, x, y, z)."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    tx, ty, tz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    return np.array([
        v[0] + w * tx + y * tz - z * ty, v[1] + w * ty + z * tx - x * tz, v[2] + w * tz + x * ty - y * tx,
    ])  # fmt: skip


@no_type_check
@njit(nogil=True)
def turn_back(q, v):
    """A vector turned by the inverse of a unit quaternion."""
    return rotate(np.array([q[0], -q[1], -q[2], -q[3]]), v)


@no_type_check
@njit(nogil=True)
def axes_of(q):
    """A body's own axes in the world, as rows."""
    axes = np.empty((3, 3))
    for i in range(3):
        unit = np.zeros(3)
        unit[i] = 1.0
        axes[i] = rotate(q, unit)
    return axes


@no_type_check
@njit(nogil=True)
def find_contacts(kind, half, position, rotation, moving, margin, pair, point_a, point_b, normal):
    """All contacts of one world nearer than each body's margin (metres); returns their number.

    pair [c, 2] bodies a and b, b = -1 for the ground; point_a, point_b [c, 3] nearest points on each, in the world;
    normal [c, 3] from a to b. The arrays' length limits the number.
    """
    count = 0
    for a in range(len(kind)):
        if kind[a] < 0:
            continue
        if moving[a]:
            count = _on_ground(a, kind, half, position, rotation, margin, pair, point_a, point_b, normal, count)
        for b in range(a + 1, len(kind)):
            if kind[b] < 0 or not (moving[a] or moving[b]):
                continue
            near = margin[a] + margin[b]
            reach = near + _radius(kind[a], half[a]) + _radius(kind[b], half[b])
            offset = position[b] - position[a]
            if offset @ offset > reach * reach:
                continue
            count = _between(a, b, kind, half, position, rotation, near, pair, point_a, point_b, normal, count)
    return count


@no_type_check
@njit(nogil=True)
def _radius(kind, half):
    return half[0] if kind == _BALL else np.sqrt(half @ half)


@no_type_check
@njit(nogil=True)
def _store(a, b, pa, pb, n, pair, point_a, point_b, normal, count):
    if count >= len(pair):
        return count
    pair[count, 0], pair[count, 1] = a, b
    point_a[count], point_b[count], normal[count] = pa, pb, n
    return count + 1


@no_type_check
@njit(nogil=True)
def _on_ground(a, kind, half, position, rotation, margin, pair, point_a, point_b, normal, count):
    down = np.array([0.0, 0.0, -1.0])
    if kind[a] == _BALL:
        low = position[a] + down * half[a, 0]
        if low[2] < margin[a]:
            count = _store(a, -1, low, np.array([low[0], low[1], 0.0]), down, pair, point_a, point_b, normal, count)
        return count
    for corner in range(8):
        local = half[a] * np.array([1.0 - 2 * (corner & 1), 1.0 - (corner & 2), 1.0 - (corner & 4) / 2])
        low = position[a] + rotate(rotation[a], local)
        if low[2] < margin[a]:
            count = _store(a, -1, low, np.array([low[0], low[1], 0.0]), down, pair, point_a, point_b, normal, count)
    return count


@no_type_check
@njit(nogil=True)
def _between(a, b, kind, half, position, rotation, near, pair, point_a, point_b, normal, count):
    if kind[a] == _BALL and kind[b] == _BALL:
        offset = position[b] - position[a]
        distance = np.sqrt(offset @ offset)
        n = offset / distance if distance > 1e-9 else np.array([0.0, 0.0, 1.0])
        if distance - half[a, 0] - half[b, 0] < near:
            pa, pb = position[a] + n * half[a, 0], position[b] - n * half[b, 0]
            count = _store(a, b, pa, pb, n, pair, point_a, point_b, normal, count)
        return count
    if kind[a] != _BALL and kind[b] != _BALL:
        return _boxes(a, b, half, position, rotation, near, pair, point_a, point_b, normal, count)
    ball, box = (a, b) if kind[a] == _BALL else (b, a)
    local = turn_back(rotation[box], position[ball] - position[box])
    closest = np.minimum(np.maximum(local, -half[box]), half[box])
    away = local - closest
    distance = np.sqrt(away @ away)
    if distance > 1e-9:
        outward, gap = away / distance, distance
    else:  # the center is inside: push out through the nearest face
        depth = half[box] - np.abs(local)
        axis = int(np.argmin(depth))
        outward = np.zeros(3)
        outward[axis] = 1.0 if local[axis] >= 0 else -1.0
        closest = local.copy()
        closest[axis] = outward[axis] * half[box, axis]
        gap = -depth[axis]
    if gap - half[ball, 0] < near:
        n = rotate(rotation[box], outward)
        on_box, on_ball = position[box] + rotate(rotation[box], closest), position[ball] - n * half[ball, 0]
        if a == ball:
            count = _store(a, b, on_ball, on_box, -n, pair, point_a, point_b, normal, count)
        else:
            count = _store(a, b, on_box, on_ball, n, pair, point_a, point_b, normal, count)
    return count


@no_type_check
@njit(nogil=True)
def _boxes(a, b, half, position, rotation, near, pair, point_a, point_b, normal, count):
    ax, bx, offset = axes_of(rotation[a]), axes_of(rotation[b]), position[b] - position[a]
    best, which, n = -1e9, -1, np.zeros(3)
    for i in range(6):
        axis = ax[i] if i < 3 else bx[i - 3]
        gap = abs(offset @ axis) - half[a] @ np.abs(ax @ axis) - half[b] @ np.abs(bx @ axis)
        if gap > best + (1e-5 if which >= 0 else 0.0):
            best, which, n = gap, i, axis
        if gap > near:
            return count
    edge, best_edge, n_edge = -1, -1e9, np.zeros(3)
    for i in range(3):
        for j in range(3):
            axis = np.cross(ax[i], bx[j])
            length = np.sqrt(axis @ axis)
            if length < 1e-3:
                continue
            axis = axis / length
            gap = abs(offset @ axis) - half[a] @ np.abs(ax @ axis) - half[b] @ np.abs(bx @ axis)
            if gap > near:
                return count
            if gap > best_edge:
                best_edge, edge, n_edge = gap, 3 * i + j, axis
    size = min(half[a].min(), half[b].min())
    # Faces give more points, so they are preferred unless an edge separates clearly better.
    if edge >= 0 and best_edge > best + 0.02 * size and best_edge * _FLAT > best:
        n = n_edge if n_edge @ offset > 0 else -n_edge
        pa, pb = _edge_points(edge, n, ax, bx, half[a], half[b], position[a], position[b])
        return _store(a, b, pa, pb, n, pair, point_a, point_b, normal, count)
    n = n if n @ offset > 0 else -n
    if which < 3:
        return _clip(a, b, False, n, ax, bx, half[a], half[b], position[a], position[b], near, pair, point_a, point_b,
                     normal, count)  # fmt: skip
    return _clip(a, b, True, -n, bx, ax, half[b], half[a], position[b], position[a], near, pair, point_a, point_b,
                 normal, count)  # fmt: skip


@no_type_check
@njit(nogil=True)
def _edge_points(edge, n, ax, bx, half_a, half_b, pos_a, pos_b):
    """The nearest points of the two edges that face each other along n."""
    i, j = edge // 3, edge % 3
    pa, pb = pos_a.copy(), pos_b.copy()
    for k in range(3):
        if k != i:
            pa += ax[k] * (half_a[k] if ax[k] @ n > 0 else -half_a[k])
        if k != j:
            pb += bx[k] * (-half_b[k] if bx[k] @ n > 0 else half_b[k])
    u, v, w = ax[i], bx[j], pb - pa
    uv = u @ v
    bottom = max(1 - uv * uv, 1e-9)
    s, t = (w @ u - uv * (w @ v)) / bottom, (uv * (w @ u) - w @ v) / bottom
    return pa + u * min(max(s, -half_a[i]), half_a[i]), pb + v * min(max(t, -half_b[j]), half_b[j])


@no_type_check
@njit(nogil=True)
def _clip(a, b, swapped, n, rx, ix, half_r, half_i, pos_r, pos_i, near, pair, point_a, point_b, normal, count):
    """Points of the incident box's face within the reference box's face, whose outward normal is n."""
    face = int(np.argmax(np.abs(rx @ n)))
    facing = ix @ n
    other = int(np.argmax(np.abs(facing)))
    side = -1.0 if facing[other] > 0 else 1.0
    u, v = (other + 1) % 3, (other + 2) % 3
    middle = pos_i + ix[other] * (side * half_i[other])
    polygon, clipped = np.empty((12, 3)), np.empty((12, 3))
    for corner in range(4):
        su = 1.0 if corner in (0, 3) else -1.0
        sv = 1.0 if corner < 2 else -1.0
        polygon[corner] = middle + ix[u] * (su * half_i[u]) + ix[v] * (sv * half_i[v])
    length = 4
    for k in range(3):
        if k == face:
            continue
        for sign in (1.0, -1.0):
            axis, limit, kept = rx[k] * sign, half_r[k], 0
            for p in range(length):
                here, there = polygon[p], polygon[(p + 1) % length]
                d0, d1 = (here - pos_r) @ axis - limit, (there - pos_r) @ axis - limit
                if d0 <= 0 and kept < 12:
                    clipped[kept] = here
                    kept += 1
                if d0 * d1 < 0 and kept < 12:
                    clipped[kept] = here + (there - here) * (d0 / (d0 - d1))
                    kept += 1
            length = kept
            polygon[:length] = clipped[:length]
    for p in range(length):
        gap = (polygon[p] - pos_r) @ n - half_r[face]
        if gap >= near:
            continue
        on_face = polygon[p] - n * gap
        if swapped:
            count = _store(a, b, polygon[p], on_face, -n, pair, point_a, point_b, normal, count)
        else:
            count = _store(a, b, on_face, polygon[p], n, pair, point_a, point_b, normal, count)
    return count
