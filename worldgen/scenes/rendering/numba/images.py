"""Images and truths on a CPU, bundle by bundle: what `worldgen/scenes/rendering/torch/images.py` renders in torch.

A bundle's rays are split by the primitive they hit. Each part is finished alone, from its surface to the pixels, so
that all numbers of a primitive and its texture are constants of loops over rays, which the compiler vectorizes, and the
rays' own numbers stay in the nearest cache. Float32 without gradients only.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from worldgen.scenes import shapes as shape_kinds
from worldgen.scenes import textures as texture_patterns
from worldgen.scenes.rendering import constants
from worldgen.scenes.rendering.constants import BUNDLE
from worldgen.scenes.rendering.numba import compiling, shading, shapes, surfaces, textures, tracing
from worldgen.scenes.rendering.numba import truths as truth_kernels
from worldgen.scenes.rendering.numba.compiling import entry, kernel
from worldgen.scenes.rendering.numba.shading import shade
from worldgen.scenes.rendering.numba.surfaces import (
    Bundle,
    SceneArrays,
    SurfacePoints,
    Views,
    lens_rays,
    surface_points,
)
from worldgen.scenes.rendering.numba.textures import TextureWorkspace
from worldgen.scenes.rendering.numba.tracing import SolidArrays, Workspace, arrays, first_hits, in_threads
from worldgen.scenes.rendering.numba.truths import write_motion, write_truths
from worldgen.scenes.rendering.solids import Solids
from worldgen.scenes.scene import Scene

# What the compiled code is made from, beside this file.
SOURCES = (
    compiling, constants, shading, shape_kinds, shapes, surfaces, texture_patterns, textures, tracing, truth_kernels,
)  # fmt: skip
_F = np.float32
_0, _1, _2, _HALF, _TINY = _F(0), _F(1), _F(2), _F(0.5), _F(1e-12)
_DONE = -2


class _Images(NamedTuple):
    """The images, [p, c, h w]; p = 0 for those that are not wanted."""

    rgb: np.ndarray
    depth: np.ndarray
    instances: np.ndarray
    classes: np.ndarray
    normals: np.ndarray
    flow: np.ndarray
    scene_flow: np.ndarray
    visibility: np.ndarray


class _CastRays(NamedTuple):
    """Rays cast from surface points, what they hit, and which of the points they come from."""

    start: np.ndarray
    towards: np.ndarray
    t: np.ndarray
    slot: np.ndarray
    triangle: np.ndarray
    chosen: np.ndarray


def render_numba(
    scene: Scene, cameras: Cameras, solids: Solids, supersample: int, truths: Sequence[str], prefilter: bool
) -> dict[str, Tensor]:
    """Every image by name, [p, c, h, w], as `worldgen.scenes.rendering.renderer.render` says; `solids` of the p = b f
    images."""
    count, (height, width) = cameras.shape.numel(), cameras.hw
    K, pose = cameras.K.flatten(0, 1), cameras.world_from_camera.flatten(0, 1)
    turn = pose[:, :3, :3]
    which = torch.arange(len(scene)).repeat_interleave(cameras.shape[1])
    pixel = 1 / (supersample * K[:, 0, 0]) if prefilter else torch.zeros(count)
    image = torch.cat([K @ turn.transpose(-1, -2), pose[:, None, :3, 2]], 1)
    lens, rays = lens_rays(cameras.reshape(count), (supersample, 1))
    views = Views(*arrays(which, turn @ torch.linalg.inv(K), pose[:, :3, 3:], image, pixel, lens, *rays))
    light, material = scene.light, scene.material
    finish = torch.stack([material.gloss, material.shine, material.glow, material.haze_m], -1)
    sky = torch.stack([light.ambient, light.horizon, light.zenith], 1)
    places = torch.cat([light.to_sun[:, None], light.lamp], 1)[..., None]
    colors = torch.cat([light.sun[:, None], light.lamp_color], 1)
    things = (scene.size, material.textures.table(), finish, scene.instance, scene.semantic, sky, places, colors)
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
    bodies, scenes, images = SolidArrays.of(solids), SceneArrays(*arrays(*things)), _Images(**made)

    def some(first: int, last: int) -> None:
        shape = height, width, supersample, cameras.shape[1]
        _render(first, last, shape, bodies, views, scenes, images, _Workspaces.of(BUNDLE * BUNDLE))

    in_threads(some, count)
    return {name: torch.from_numpy(x).unflatten(-1, (height, width)) for name, x in made.items() if len(x)}


class _Workspaces(NamedTuple):
    """Arrays that one thread works in."""

    bundle: Bundle
    rays: Bundle
    ends: SurfacePoints
    cast: _CastRays
    work: Workspace
    textures: TextureWorkspace

    @staticmethod
    def of(count: int) -> "_Workspaces":
        """For bundles of `count` rays."""

        def vectors(rows: int) -> np.ndarray:
            return np.empty((rows, 3, count), np.float32)

        def numbers(rows: int) -> np.ndarray:
            return np.empty((rows, count), np.float32)

        def whole(rows: int) -> np.ndarray:
            return np.empty((rows, count), np.int32)

        bundle, rays = (Bundle(*vectors(1), *numbers(1), *whole(3)) for _ in range(2))
        ends, cast = SurfacePoints(*vectors(7), *numbers(4)), _CastRays(*vectors(2), *numbers(1), *whole(3))
        return _Workspaces(bundle, rays, ends, cast, Workspace.of(count), TextureWorkspace.of(count))


@no_type_check
@entry(*SOURCES)
def _render(first, last, shape, solids, views, scenes, images, workspaces):
    height, width, supersample, frames = shape
    bundle, rays, ends, cast, work, textures = workspaces
    for p in range(first, last):
        for turn in range(2 if supersample > 1 else 1):  # color by many rays a pixel, truths by the center's
            fine = supersample if turn == 0 else 1
            for top in range(0, height * fine, BUNDLE):
                for left in range(0, width * fine, BUNDLE):
                    down, across = min(BUNDLE, height * fine - top), min(BUNDLE, width * fine - left)
                    count = _aim(views, p, turn, top, left, down, across, fine, width, bundle)
                    t, slot, triangle = bundle.t[:count], bundle.slot[:count], bundle.triangle[:count]
                    first_hits(solids, p, views.eye[p], bundle.direction, work, t, slot, triangle)
                    for k in range(count):
                        if slot[k] == _DONE:
                            continue
                        n = slot[k]
                        size = _take(bundle, n, k, count, rays)
                        if n >= 0:
                            surface_points(solids, views, scenes, p, n, rays, ends, size)
                        if turn == 0:
                            shade(solids, views, scenes, p, n, rays, ends, cast, work, textures, size)
                            share = _1 / _F(fine * fine)
                            for c in range(3):
                                for j in range(size):
                                    images.rgb[p, c, rays.at[j]] += share * ends.light[c, j]
                        if fine == 1:
                            write_truths(scenes, views.scene[p], p, n, rays, ends, images, size)
                            if p % frames < frames - 1:
                                write_motion(
                                    solids, views, scenes, p, n, height, width, rays, ends, cast, work, images, size
                                )
        for c in range(3):
            _encode(images.rgb[p, c])


@no_type_check
@kernel
def _aim(views, p, turn, top, left, down, across, fine, width, bundle):
    """Rays through the centers of a rectangle of pixels, each `fine` times as narrow as the image's."""
    step, matrix, lens = _1 / _F(fine), views.world_from_pixel[p], views.lens[p]
    for y in range(down):
        v, row = (_F(top + y) + _HALF) * step, (top + y) // fine * width
        for x in range(across):
            bundle.at[y * across + x] = row + (left + x) // fine
        if lens >= 0:
            rays = views.rays[lens] if turn == 0 else views.centers[lens]
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
def _take(bundle, n, first, count, rays):
    """Move the rays that hit primitive n out of a bundle; returns their number."""
    size = 0
    for k in range(first, count):
        if bundle.slot[k] == n:
            bundle.slot[k] = _DONE
            rays.t[size], rays.triangle[size], rays.at[size] = bundle.t[k], bundle.triangle[k], bundle.at[k]
            for c in range(3):
                rays.direction[c, size] = bundle.direction[c, k]
            size += 1
    return size


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
