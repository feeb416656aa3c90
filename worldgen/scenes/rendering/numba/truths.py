"""Truths beside color: depth, ids and normals of an image, and where its points are in the next frame."""

from typing import no_type_check

import numpy as np

from worldgen.scenes.rendering.constants import GRAZING, UNSEEN
from worldgen.scenes.rendering.numba.compiling import inlined, kernel, spliced
from worldgen.scenes.rendering.numba.tracing import first_hits

_F = np.float32
_0, _1, _INF = _F(0), _F(1), _F(np.inf)
_GRAZING, _UNSEEN = _F(GRAZING), _F(UNSEEN)


@no_type_check
@kernel
def write_truths(scenes, scene, p, n, rays, ends, images, count):
    """Depth, instances, classes and normals at the pixels of rays that hit primitive n; n < 0 = the sky."""
    at = rays.at
    instance, semantic = (scenes.instance[scene, n], scenes.semantic[scene, n]) if n >= 0 else (-1, -1)
    for k in range(count):
        images.depth[p, 0, at[k]] = rays.t[k]
        images.instances[p, 0, at[k]] = instance
    if len(images.classes):
        for k in range(count):
            images.classes[p, 0, at[k]] = semantic
    if len(images.normals) and n >= 0:
        for c in range(3):
            for k in range(count):
                images.normals[p, c, at[k]] = ends.normal[c, k]
    elif len(images.normals):
        for k in range(count):
            x, y, z = rays.direction[0, k], rays.direction[1, k], rays.direction[2, k]
            scale = -_1 / np.sqrt(x * x + y * y + z * z)
            for c in range(3):
                images.normals[p, c, at[k]] = scale * rays.direction[c, k]


@no_type_check
@inlined
def _project(m, x, y, z):
    """Pixel and z-depth of a point given from a camera's center, by the rows of K R^T and the forward axis."""
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
    w = _F(1e-9) if abs(w) < _F(1e-9) else w
    u, v = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z, m[1, 0] * x + m[1, 1] * y + m[1, 2] * z
    return u / w, v / w, m[3, 0] * x + m[3, 1] * y + m[3, 2] * z


@no_type_check
@spliced
def write_motion(solids, views, scenes, p, n, height, width, rays, ends, cast, work, images, count):
    """Flow, scene flow and visibility: where the points will be in the next frame."""
    if not (len(images.flow) or len(images.scene_flow) or len(images.visibility)):
        return
    at, now, later, size = rays.at, views.image[p], views.image[p + 1], 0
    if n >= 0:
        # The same point of the same body, a frame later: rotation (the transpose of A times size) and center.
        matrix, extent, center = solids.affine[p + 1, n], scenes.size[views.scene[p], n], solids.center[p + 1, n]
        for c in range(3):
            x, y, z, shift = matrix[0, c] * extent[0], matrix[1, c] * extent[1], matrix[2, c] * extent[2], center[c]
            for k in range(count):
                ends.to_light[c, k] = x * ends.local[0, k] + y * ends.local[1, k] + z * ends.local[2, k] + shift
        if len(images.scene_flow):
            for c in range(3):
                for k in range(count):
                    images.scene_flow[p, c, at[k]] = ends.to_light[c, k] - ends.point[c, k]
    for k in range(count):
        for c in range(3):  # the sky is infinitely far
            moved = ends.to_light[c, k] - views.eye[p + 1, c, 0] if n >= 0 else rays.direction[c, k]
            cast.towards[c, size] = moved
        x, y, z = cast.towards[0, size], cast.towards[1, size], cast.towards[2, size]
        u, v, deep = _project(later, x, y, z)
        if deep > _GRAZING * np.sqrt(x * x + y * y + z * z):
            if len(images.flow):
                u0, v0, _ = _project(now, rays.direction[0, k], rays.direction[1, k], rays.direction[2, k])
                images.flow[p, 0, at[k]], images.flow[p, 1, at[k]] = u - u0, v - v0
            if u >= _0 and u <= _F(width) and v >= _0 and v <= _F(height):
                cast.chosen[size] = k
                size += 1
    if len(images.visibility) and size:
        t, slot, triangle = cast.t[:size], cast.slot[:size], cast.triangle[:size]
        first_hits(solids, p + 1, views.eye[p + 1], cast.towards, work, t, slot, triangle)
        for j in range(size):
            images.visibility[p, 0, at[cast.chosen[j]]] = t[j] >= (_1 - _UNSEEN if n >= 0 else _INF)
