"""Images and truths on a CPU, compiled by numba: what `render.py` and `shading.py` say in torch, bundle by bundle.

A bundle's rays are split by the primitive they hit. Each part is finished alone, from its surface to the pixels, so
that all a primitive and its texture say is constant in loops over rays, which become vector instructions; their numbers
never leave the nearest cache. Float32 without gradients only.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, no_type_check

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from worldgen.scenes.rendering.numba import shapes as fast_shapes
from worldgen.scenes.rendering.numba import surfaces as fast_surfaces
from worldgen.scenes.rendering.numba import textures as fast_textures
from worldgen.scenes.rendering.numba import tracing as fast
from worldgen.scenes.rendering.numba.shapes import digest, entry, inlined, kernel, spliced
from worldgen.scenes.rendering.numba.surfaces import Bundle, Looks, Part, Views, bent_rays, meet
from worldgen.scenes.rendering.numba.textures import Room, exponential, texture
from worldgen.scenes.rendering.numba.tracing import Bodies, Workspace, arrays, first_hits, in_threads
from worldgen.scenes.rendering.shading import GRAZING, NEAREST_LAMP_M, SHADOW_BIAS, UNSEEN

if TYPE_CHECKING:
    from worldgen.scenes.rendering.tracing import Solids
    from worldgen.scenes.scene import Scene

_F = np.float32
_0, _1, _2, _HALF, _INF = _F(0), _F(1), _F(2), _F(0.5), _F(np.inf)
_TINY, _LEAST = _F(1e-12), _F(1e-6)
_BIAS, _NEAREST, _GRAZING, _UNSEEN = _F(SHADOW_BIAS), _F(NEAREST_LAMP_M), _F(GRAZING), _F(UNSEEN)
_SIDE = 16  # rays of a bundle are a square of so many on a side
_DONE = -2


class _Images(NamedTuple):
    """What is made, [p, c, h w]; with p = 0 what is not."""

    rgb: np.ndarray
    depth: np.ndarray
    instances: np.ndarray
    classes: np.ndarray
    normals: np.ndarray
    flow: np.ndarray
    scene_flow: np.ndarray
    visibility: np.ndarray


class _Casting(NamedTuple):
    """Rays sent on from there, what they hit, and which of the part's they are."""

    start: np.ndarray
    towards: np.ndarray
    t: np.ndarray
    slot: np.ndarray
    triangle: np.ndarray
    chosen: np.ndarray


def render_cpu(
    scene: "Scene", cameras: Cameras, solids: "Solids", supersample: int, truths: Sequence[str], prefilter: bool
) -> dict[str, Tensor]:
    """Every image by name, [p, c, h, w], as `worldgen.scenes.rendering.render.render` says; `solids` of the b f
    images."""
    count, (height, width) = cameras.shape.numel(), cameras.hw
    K, pose = cameras.K.flatten(0, 1), cameras.world_from_camera.flatten(0, 1)
    turn = pose[:, :3, :3]
    which = torch.arange(len(scene)).repeat_interleave(cameras.shape[1])
    pixel = 1 / (supersample * K[:, 0, 0]) if prefilter else torch.zeros(count)
    image = torch.cat([K @ turn.transpose(-1, -2), pose[:, None, :3, 2]], 1)
    bent, rays = bent_rays(cameras.reshape(count), (supersample, 1))
    views = Views(*arrays(which, turn @ torch.linalg.inv(K), pose[:, :3, 3:], image, pixel, bent, *rays))
    light, material = scene.light, scene.material
    look = torch.stack([material.gloss, material.shine, material.glow, material.haze_m], -1)
    sky = torch.stack([light.ambient, light.horizon, light.zenith], 1)
    places = torch.cat([light.to_sun[:, None], light.lamp], 1)[..., None]
    colors = torch.cat([light.sun[:, None], light.lamp_color], 1)
    things = (scene.size, material.textures.table(), look, scene.instance, scene.semantic, sky, places, colors)
    made = {
        name: np.zeros((count if wanted else 0, channels, height * width), kind)
        for name, channels, kind, wanted in (
            ("rgb", 3, np.float32, True),
            ("depth", 1, np.float32, True),
            ("instances", 1, np.int64, True),
            ("classes", 1, np.int64, "classes" in truths),
            ("normals", 3, np.float32, "normals" in truths),
            ("flow", 2, np.float32, "flow" in truths),
            ("scene_flow", 3, np.float32, "scene_flow" in truths),
            ("visibility", 1, np.bool_, "visibility" in truths),
        )
    }
    bodies, looks, images = Bodies.of(solids), Looks(*arrays(*things)), _Images(**made)

    def some(first: int, last: int) -> None:
        shape = height, width, supersample, cameras.shape[1]
        _compiled()(first, last, shape, bodies, views, looks, images, _Rooms.of(_SIDE * _SIDE))

    in_threads(some, count)
    return {name: torch.from_numpy(x).unflatten(-1, (height, width)) for name, x in made.items() if len(x)}


class _Rooms(NamedTuple):
    """Where one thread works."""

    bundle: Bundle
    mine: Bundle
    part: Part
    casting: _Casting
    work: Workspace
    texture: Room

    @staticmethod
    def of(rays: int) -> "_Rooms":
        """For bundles of so many rays."""

        def vectors(count: int) -> np.ndarray:
            return np.empty((count, 3, rays), np.float32)

        def numbers(count: int) -> np.ndarray:
            return np.empty((count, rays), np.float32)

        def whole(count: int) -> np.ndarray:
            return np.empty((count, rays), np.int32)

        bundle, mine = (Bundle(*vectors(1), *numbers(1), *whole(3)) for _ in range(2))
        part, casting = Part(*vectors(7), *numbers(4)), _Casting(*vectors(2), *numbers(1), *whole(3))
        return _Rooms(bundle, mine, part, casting, Workspace.of(rays), Room.of(rays))


@cache
def _compiled() -> Callable[..., None]:
    """`_expose`, kept on disk while all it is made of stays the same: numba itself looks at this file alone."""
    made_of = digest(fast, fast_shapes, fast_surfaces, fast_textures)

    @no_type_check
    @entry
    def expose(first, last, shape, bodies, views, looks, images, rooms):
        if made_of >= 0:
            _expose(first, last, shape, bodies, views, looks, images, rooms)

    return expose


@no_type_check
@spliced
def _expose(first, last, shape, bodies, views, looks, images, rooms):
    height, width, supersample, frames = shape
    bundle, mine, part, casting, work, room = rooms
    for p in range(first, last):
        for turn in range(2 if supersample > 1 else 1):  # color by many rays a pixel, truths by the one in the middle
            fine = supersample if turn == 0 else 1
            for top in range(0, height * fine, _SIDE):
                for left in range(0, width * fine, _SIDE):
                    down, across = min(_SIDE, height * fine - top), min(_SIDE, width * fine - left)
                    count = _aim(views, p, turn, top, left, down, across, fine, width, bundle)
                    t, slot, triangle = bundle.t[:count], bundle.slot[:count], bundle.triangle[:count]
                    first_hits(bodies, p, views.eye[p], bundle.direction, work, t, slot, triangle)
                    for k in range(count):
                        if slot[k] == _DONE:
                            continue
                        n = slot[k]
                        size = _take(bundle, n, k, count, mine)
                        if n >= 0:
                            meet(bodies, views, looks, p, n, mine, part, size)
                        if turn == 0:
                            _shade(bodies, views, looks, p, n, mine, part, casting, work, room, size)
                            share = _1 / _F(fine * fine)
                            for c in range(3):
                                for j in range(size):
                                    images.rgb[p, c, mine.at[j]] += share * part.light[c, j]
                        if fine == 1:
                            _tell(looks, views.scene[p], p, n, mine, part, images, size)
                            if p % frames < frames - 1:
                                _follow(
                                    bodies, views, looks, p, n, height, width, mine, part, casting, work, images, size
                                )
        for c in range(3):
            _encode(images.rgb[p, c])


@no_type_check
@kernel
def _aim(views, p, turn, top, left, down, across, fine, width, bundle):
    """Rays through the centers of a rectangle of pixels, each `fine` times as narrow as the image's."""
    step, matrix, bent = _1 / _F(fine), views.world_from_pixel[p], views.bent[p]
    for y in range(down):
        v, row = (_F(top + y) + _HALF) * step, (top + y) // fine * width
        for x in range(across):
            bundle.at[y * across + x] = row + (left + x) // fine
        if bent >= 0:
            rays = views.rays[bent] if turn == 0 else views.centers[bent]
            for c in range(3):
                for x in range(across):
                    bundle.direction[c, y * across + x] = rays[c, top + y, left + x]
            continue
        for c in range(3):
            start = matrix[c, 1] * v + matrix[c, 2]
            for x in range(across):
                bundle.direction[c, y * across + x] = matrix[c, 0] * ((_F(left + x) + _HALF) * step) + start
    return down * across


@no_type_check
@kernel
def _take(bundle, n, first, count, mine):
    """Move the rays that hit primitive n out of a bundle; how many they are."""
    size = 0
    for k in range(first, count):
        if bundle.slot[k] == n:
            bundle.slot[k] = _DONE
            mine.t[size], mine.triangle[size], mine.at[size] = bundle.t[k], bundle.triangle[k], bundle.at[k]
            for c in range(3):
                mine.direction[c, size] = bundle.direction[c, k]
            size += 1
    return size


@no_type_check
@spliced
def _shade(bodies, views, looks, p, n, mine, part, casting, work, room, count):
    """`worldgen.scenes.rendering.shading.shade`."""
    scene = views.scene[p]
    direction, light = mine.direction, part.light
    for k in range(count):
        part.length[k] = np.sqrt(direction[0, k] ** 2 + direction[1, k] ** 2 + direction[2, k] ** 2)
    ambient, horizon, zenith = looks.sky[scene, 0], looks.sky[scene, 1], looks.sky[scene, 2]
    if n < 0:
        for c in range(3):
            for k in range(count):
                up = np.sqrt(max(direction[2, k] / part.length[k], _0))
                light[c, k] = horizon[c] + up * (zenith[c] - horizon[c])
        return
    for k in range(count):
        part.width[k] = views.pixel[p] * part.length[k] * mine.t[k]
    texture(looks.texture[scene, n], part.local, part.lean, part.width, count, room, part.albedo)
    glow, haze_m = looks.look[scene, n, 2], looks.look[scene, n, 3]
    for c in range(3):
        around = ambient[c]
        for k in range(count):
            light[c, k] = part.albedo[c, k] * (around * (_F(0.75) + _F(0.25) * part.normal[2, k]) + glow)
    for q in range(looks.light.shape[1]):
        color = looks.color[scene, q]
        if max(color[0], color[1], color[2]) > _0:
            _illuminate(bodies, looks, p, scene, n, q, mine, part, casting, work, count)
    if haze_m < _INF:
        for k in range(count):
            share = part.length[k] * mine.t[k] / haze_m
            part.width[k] = exponential(-share * share)
        for c in range(3):
            for k in range(count):
                light[c, k] = horizon[c] + part.width[k] * (light[c, k] - horizon[c])


@no_type_check
@spliced
def _illuminate(bodies, looks, p, scene, n, q, mine, part, casting, work, count):
    """Add the light of the sun (q = 0) or of a lamp, where it arrives: Lambert's law and a Blinn-Phong highlight."""
    place, color, lamp = looks.light[scene, q], looks.color[scene, q], q > 0
    gloss, shine = looks.look[scene, n, 0], looks.look[scene, n, 1]
    point, normal, to_light, facing, shining = part.point, part.normal, part.to_light, part.facing, part.shining
    for k in range(count):
        x, y, z = place[0, 0], place[1, 0], place[2, 0]
        away = _1
        if lamp:
            x, y, z = x - point[0, k], y - point[1, k], z - point[2, k]
            away = max(np.sqrt(x * x + y * y + z * z), _NEAREST)
        x, y, z = x / away, y / away, z / away
        to_light[0, k], to_light[1, k], to_light[2, k] = x, y, z
        facing[k] = max(x * normal[0, k] + y * normal[1, k] + z * normal[2, k], _0)
        part.width[k] = _1 / (away * away)
    size = 0
    for k in range(count):
        if facing[k] > _0:
            for c in range(3):
                casting.start[c, size] = point[c, k] + _BIAS * normal[c, k]
                casting.towards[c, size] = place[c, 0] - casting.start[c, size]
            casting.chosen[size] = k
            size += 1
    if size == 0:
        return
    t, slot, triangle = casting.t[:size], casting.slot[:size], casting.triangle[:size]
    towards, end = (casting.towards, _1 - _BIAS) if lamp else (place, _INF)
    first_hits(bodies, p, casting.start, towards, work, t, slot, triangle)
    for j in range(size):
        if t[j] < end:
            facing[casting.chosen[j]] = _0
    shining[:count] = _0
    if gloss > _0:
        for j in range(size):
            k = casting.chosen[j]
            x = to_light[0, k] - mine.direction[0, k] / part.length[k]
            y = to_light[1, k] - mine.direction[1, k] / part.length[k]
            z = to_light[2, k] - mine.direction[2, k] / part.length[k]
            aligned = x * normal[0, k] + y * normal[1, k] + z * normal[2, k]
            aligned /= max(np.sqrt(x * x + y * y + z * z), _LEAST)
            shining[k] = gloss * min(max(aligned, _F(1e-4)), _1) ** shine if facing[k] > _0 else _0
    for c in range(3):
        of_light = color[c]
        for k in range(count):
            part.light[c, k] += of_light * part.width[k] * (part.albedo[c, k] * facing[k] + shining[k])


@no_type_check
@kernel
def _tell(looks, scene, p, n, mine, part, images, count):
    """The truths of one image alone."""
    at = mine.at
    instance, semantic = (looks.instance[scene, n], looks.semantic[scene, n]) if n >= 0 else (-1, -1)
    for k in range(count):
        images.depth[p, 0, at[k]] = mine.t[k]
        images.instances[p, 0, at[k]] = instance
    if len(images.classes):
        for k in range(count):
            images.classes[p, 0, at[k]] = semantic
    if len(images.normals) and n >= 0:
        for c in range(3):
            for k in range(count):
                images.normals[p, c, at[k]] = part.normal[c, k]
    elif len(images.normals):
        for k in range(count):
            x, y, z = mine.direction[0, k], mine.direction[1, k], mine.direction[2, k]
            scale = -_1 / np.sqrt(x * x + y * y + z * z)
            for c in range(3):
                images.normals[p, c, at[k]] = scale * mine.direction[c, k]


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
def _follow(bodies, views, looks, p, n, height, width, mine, part, casting, work, images, count):
    """Where the points will be in the next frame: flow, scene flow and visibility."""
    if not (len(images.flow) or len(images.scene_flow) or len(images.visibility)):
        return
    at, now, later, size = mine.at, views.image[p], views.image[p + 1], 0
    if n >= 0:
        # The same point of the same body, a frame later: rotation (the transpose of A times size) and center.
        matrix, extent, center = bodies.affine[p + 1, n], looks.size[views.scene[p], n], bodies.center[p + 1, n]
        for c in range(3):
            x, y, z, shift = matrix[0, c] * extent[0], matrix[1, c] * extent[1], matrix[2, c] * extent[2], center[c]
            for k in range(count):
                part.to_light[c, k] = x * part.local[0, k] + y * part.local[1, k] + z * part.local[2, k] + shift
        if len(images.scene_flow):
            for c in range(3):
                for k in range(count):
                    images.scene_flow[p, c, at[k]] = part.to_light[c, k] - part.point[c, k]
    for k in range(count):
        for c in range(3):  # the sky is infinitely far
            moved = part.to_light[c, k] - views.eye[p + 1, c, 0] if n >= 0 else mine.direction[c, k]
            casting.towards[c, size] = moved
        x, y, z = casting.towards[0, size], casting.towards[1, size], casting.towards[2, size]
        u, v, deep = _project(later, x, y, z)
        if deep > _GRAZING * np.sqrt(x * x + y * y + z * z):
            if len(images.flow):
                u0, v0, _ = _project(now, mine.direction[0, k], mine.direction[1, k], mine.direction[2, k])
                images.flow[p, 0, at[k]], images.flow[p, 1, at[k]] = u - u0, v - v0
            if u >= _0 and u <= _F(width) and v >= _0 and v <= _F(height):
                casting.chosen[size] = k
                size += 1
    if len(images.visibility) and size:
        t, slot, triangle = casting.t[:size], casting.slot[:size], casting.triangle[:size]
        first_hits(bodies, p + 1, views.eye[p + 1], casting.towards, work, t, slot, triangle)
        for j in range(size):
            images.visibility[p, 0, at[casting.chosen[j]]] = t[j] >= (_1 - _UNSEEN if n >= 0 else _INF)


@no_type_check
@kernel
def _encode(light):
    """`geometry.conventions.srgb_from_linear`, in place; the power 5/12 is a fourth root times a sixth root."""
    for k in range(len(light)):
        x = min(max(light[k], _0), _1)
        root = np.sqrt(max(x, _TINY))
        # A cube root: a third of the exponent, and two of Halley's steps.
        y = np.int32(np.int32(_F(np.float32(root).view(np.int32)) * _F(1 / 3)) + np.int32(709921077)).view(np.float32)
        cube = y * y * y
        y *= (cube + _2 * root) / (_2 * cube + root)
        cube = y * y * y
        y *= (cube + _2 * root) / (_2 * cube + root)
        light[k] = x * _F(12.92) if x <= _F(0.0031308) else _F(1.055) * y * np.sqrt(root) - _F(0.055)
