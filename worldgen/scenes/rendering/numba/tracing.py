"""The tracer: the same hits as `worldgen/scenes/rendering/torch/tracing.py` finds, several times faster.

For every bundle of rays the primitives whose bounding balls its cone touches are tried one after the other, each on all
rays of the bundle (`worldgen/scenes/rendering/numba/shapes.py`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from torch import Tensor

from worldgen.scenes import shapes as shape_kinds
from worldgen.scenes.rendering.numba import compiling, shapes
from worldgen.scenes.rendering.numba.compiling import entry, inlined, kernel, spliced
from worldgen.scenes.rendering.numba.shapes import enter, enter_triangle
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.shapes import Shape

SOURCES = (compiling, shapes, shape_kinds)  # what the compiled code is made from, beside this file
_MESH = int(Shape.MESH)
_0, _1, _HALF, _INF, _LEAST = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.inf), np.float32(1e-30)
_CLUSTER = 16  # triangles in a row that share a ball


class SolidArrays(NamedTuple):
    """`Solids` as arrays, with a ball (center, radius) around each triangle of the meshes and around each cluster of
    triangles in a row."""

    kind: np.ndarray
    affine: np.ndarray
    form: np.ndarray
    center: np.ndarray
    reach: np.ndarray
    corners: np.ndarray
    owner: np.ndarray
    balls: np.ndarray
    clusters: np.ndarray

    @staticmethod
    def of(solids: Solids) -> "SolidArrays":
        """The arrays share the tensors' memory where they can."""
        parts = (solids.kind, solids.unit_from_world, solids.form, solids.center, solids.reach, solids.corners)
        rows = arrays(*parts, solids.owner)
        images, triangles = rows[-1].shape
        balls = np.empty((images, triangles, 4), np.float32)
        clusters = np.empty((images, -(-triangles // _CLUSTER), 4), np.float32)
        _bound_triangles(rows[5], rows[6], balls, clusters)  # type: ignore[call-arg]
        return SolidArrays._make([*rows, balls, clusters])


class Workspace(NamedTuple):
    """Arrays that the tracer works in: rays in a primitive's frame, [3, k] each, and the cone around them."""

    o: np.ndarray
    d: np.ndarray
    cone: np.ndarray

    @staticmethod
    def of(rays: int) -> "Workspace":
        """For bundles of `rays` rays."""
        return Workspace._make([*np.empty((2, 3, rays), np.float32), np.empty(10, np.float32)])


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Contiguous arrays of tensors, without gradients."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def in_threads(work: Callable[[int, int], None], images: int) -> None:
    """Run `work(first, last)` on ranges that together are all images, in as many threads as torch uses."""
    threads = min(torch.get_num_threads(), images)
    if threads == 1:
        work(0, images)
    else:
        edges = [images * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, edges[:-1], edges[1:]))


def trace_numba(solids: Solids, origin: Tensor, direction: Tensor) -> Hits:
    """`worldgen.scenes.rendering.tracing.trace` for float32 tensors on a CPU, in as many threads as torch uses."""
    images, bundles, _, rays = torch.broadcast_shapes(origin.shape, direction.shape)
    t = np.empty((images, bundles, rays), np.float32)
    slot, triangle = np.empty(t.shape, np.int32), np.empty(t.shape, np.int32)
    bodies, starts, ends = SolidArrays.of(solids), *arrays(origin, direction)

    def some(first: int, last: int) -> None:
        _trace(first, last, bodies, starts, ends, Workspace.of(rays), t, slot, triangle)

    in_threads(some, images)
    return Hits(torch.from_numpy(t), torch.from_numpy(slot).long(), torch.from_numpy(triangle).long())


@no_type_check
@entry(*SOURCES)
def _trace(first, last, solids, origin, direction, work, t, slot, triangle):
    for p in range(first, last):
        for b in range(t.shape[1]):
            # An axis of length 1 is shared.
            start, towards = origin[p, b % origin.shape[1]], direction[p, b % direction.shape[1]]
            first_hits(solids, p, start, towards, work, t[p, b], slot[p, b], triangle[p, b])


@no_type_check
@kernel
def first_hits(solids, p, start, towards, work, t, slot, triangle):
    """What the rays [3, k or more] of one bundle of image p hit first: t, slot and triangle [k].

    start, towards  an axis of length 1 is shared
    """
    for k in range(len(t)):
        t[k], slot[k], triangle[k] = _INF, -1, -1
    o, d, cone = work.o, work.d, work.cone
    _cone_around(start, towards, len(t), cone)
    for n in range(solids.kind.shape[1]):
        shape = solids.kind[p, n]
        if shape < 0 or not _touches(cone, solids.center[p, n], solids.reach[p, n]):
            continue
        if shape == _MESH:
            _mesh(solids, p, n, cone, start, towards, o, d, t, slot, triangle)
            continue
        _to_unit(solids.affine[p, n], start, towards, o, d, len(t))
        first, second = solids.form[p, n, 0], solids.form[p, n, 1]
        enter(shape, first, second, o, d, t, slot, triangle, n)


@no_type_check
@spliced
def _mesh(solids, p, n, cone, start, towards, o, d, t, slot, triangle):
    for k in range(len(t)):
        i, j = min(k, start.shape[1] - 1), min(k, towards.shape[1] - 1)
        for axis in range(3):
            o[axis, k], d[axis, k] = start[axis, i], towards[axis, j]
    for c in range(solids.clusters.shape[1]):
        if not _touches(cone, solids.clusters[p, c, :3], solids.clusters[p, c, 3]):
            continue
        for m in range(c * _CLUSTER, min((c + 1) * _CLUSTER, solids.owner.shape[1])):
            if solids.owner[p, m] == n and _touches(cone, solids.balls[p, m, :3], solids.balls[p, m, 3]):
                enter_triangle(solids.corners[p, m], o, d, t, slot, triangle, n, m)


@no_type_check
@entry(*SOURCES)
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
    widest = _0  # the longest chord: a cosine in float32 cannot tell small angles apart
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
def _touches(cone, center, radius):
    """Whether a ball may touch a ray of the cone; an infinite one always does."""
    if cone[9] > _HALF or radius == _INF:
        return True
    x, y, z = center[0] - cone[0], center[1] - cone[1], center[2] - cone[2]
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
