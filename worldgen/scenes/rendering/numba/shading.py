"""The light that arrives along rays, as `worldgen/scenes/rendering/torch/shading.py` computes it."""

from typing import no_type_check

import numpy as np

from worldgen.scenes.rendering.constants import NEAREST_LAMP_M, SHADOW_BIAS
from worldgen.scenes.rendering.numba.compiling import spliced
from worldgen.scenes.rendering.numba.textures import exponential, texture
from worldgen.scenes.rendering.numba.tracing import first_hits

_F = np.float32
_0, _1, _INF, _LEAST = _F(0), _F(1), _F(np.inf), _F(1e-6)
_BIAS, _NEAREST = _F(SHADOW_BIAS), _F(NEAREST_LAMP_M)


@no_type_check
@spliced
def shade(solids, views, scenes, p, n, rays, ends, cast, work, textures, count):
    """`worldgen.scenes.rendering.torch.shading.shade` for the rays that hit primitive n of image p; n < 0 = the sky."""
    scene = views.scene[p]
    direction, light = rays.direction, ends.light
    for k in range(count):
        ends.length[k] = np.sqrt(direction[0, k] ** 2 + direction[1, k] ** 2 + direction[2, k] ** 2)
    ambient, horizon, zenith = scenes.sky[scene, 0], scenes.sky[scene, 1], scenes.sky[scene, 2]
    if n < 0:
        for c in range(3):
            for k in range(count):
                up = np.sqrt(max(direction[2, k] / ends.length[k], _0))
                light[c, k] = horizon[c] + up * (zenith[c] - horizon[c])
        return
    for k in range(count):
        ends.width[k] = views.pixel[p] * ends.length[k] * rays.t[k]
    texture(scenes.texture[scene, n], ends.local, ends.lean, ends.width, count, textures, ends.albedo)
    glow, haze_m = scenes.material[scene, n, 2], scenes.material[scene, n, 3]
    for c in range(3):
        around = ambient[c]
        for k in range(count):
            light[c, k] = ends.albedo[c, k] * (around * (_F(0.75) + _F(0.25) * ends.normal[2, k]) + glow)
    for q in range(scenes.light.shape[1]):
        color = scenes.light_color[scene, q]
        if max(color[0], color[1], color[2]) > _0:
            _illuminate(solids, scenes, p, scene, n, q, rays, ends, cast, work, count)
    if haze_m < _INF:
        for k in range(count):
            share = ends.length[k] * rays.t[k] / haze_m
            ends.width[k] = exponential(-share * share)
        for c in range(3):
            for k in range(count):
                light[c, k] = horizon[c] + ends.width[k] * (light[c, k] - horizon[c])


@no_type_check
@spliced
def _illuminate(solids, scenes, p, scene, n, q, rays, ends, cast, work, count):
    """Add the light of the sun (q = 0) or of a lamp, where it arrives: Lambert's law and a Blinn-Phong highlight."""
    place, color, lamp = scenes.light[scene, q], scenes.light_color[scene, q], q > 0
    gloss, shine = scenes.material[scene, n, 0], scenes.material[scene, n, 1]
    point, normal, to_light, facing, shining = ends.point, ends.normal, ends.to_light, ends.facing, ends.shining
    for k in range(count):
        x, y, z = place[0, 0], place[1, 0], place[2, 0]
        away = _1
        if lamp:
            x, y, z = x - point[0, k], y - point[1, k], z - point[2, k]
            away = max(np.sqrt(x * x + y * y + z * z), _NEAREST)
        x, y, z = x / away, y / away, z / away
        to_light[0, k], to_light[1, k], to_light[2, k] = x, y, z
        facing[k] = max(x * normal[0, k] + y * normal[1, k] + z * normal[2, k], _0)
        ends.width[k] = _1 / (away * away)
    size = 0
    for k in range(count):
        if facing[k] > _0:
            for c in range(3):
                cast.start[c, size] = point[c, k] + _BIAS * normal[c, k]
                cast.towards[c, size] = place[c, 0] - cast.start[c, size]
            cast.chosen[size] = k
            size += 1
    if size == 0:
        return
    t, slot, triangle = cast.t[:size], cast.slot[:size], cast.triangle[:size]
    towards, end = (cast.towards, _1 - _BIAS) if lamp else (place, _INF)
    first_hits(solids, p, cast.start, towards, work, t, slot, triangle)
    for j in range(size):
        if t[j] < end:
            facing[cast.chosen[j]] = _0
    shining[:count] = _0
    if gloss > _0:
        for j in range(size):
            k = cast.chosen[j]
            x = to_light[0, k] - rays.direction[0, k] / ends.length[k]
            y = to_light[1, k] - rays.direction[1, k] / ends.length[k]
            z = to_light[2, k] - rays.direction[2, k] / ends.length[k]
            aligned = x * normal[0, k] + y * normal[1, k] + z * normal[2, k]
            aligned /= max(np.sqrt(x * x + y * y + z * z), _LEAST)
            shining[k] = gloss * min(max(aligned, _F(1e-4)), _1) ** shine if facing[k] > _0 else _0
    for c in range(3):
        of_light = color[c]
        for k in range(count):
            ends.light[c, k] += of_light * ends.width[k] * (ends.albedo[c, k] * facing[k] + shining[k])
