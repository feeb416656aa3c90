"""The kernels of `geometry.gaussians.fast_splatting`, compiled by numba, which importing this module needs.

Forward and backward pass share what a Gaussian covers of a row and how opaque it is in a pixel, so that they count the
same pixels. The last arguments of a kernel, `first` and `step`, say which tiles it does: every `step`-th from `first`.
"""

from typing import Any, no_type_check

import numpy as np
from numba import njit

from geometry.compiling import compiled
from geometry.gaussians import splatting
from geometry.gaussians.splatting import DARK, FAINT, OPAQUE, TILE

SOURCES = (splatting,)  # what the compiled code is made from, beside this file
_OPAQUE, _FAINT, _DARK, _LN_FAINT = (np.float32(value) for value in (OPAQUE, FAINT, DARK, np.log(FAINT)))
_0, _1, _2, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
_inlined: Any = njit(forceinline=True, **_OPTIONS)
_kernel = compiled(*SOURCES, **_OPTIONS)


@no_type_check
@_inlined
def _span(f, u, y, across):
    """From where to where, exclusive, a row's pixels lie in the ellipse where the opacity is 1/255."""
    a, b, c = f[2], f[3], f[4]
    inside = (b * y) ** 2 - a * (c * y * y + _2 * (_LN_FAINT - f[5]))
    if inside < _0:
        return 0, 0
    middle, reach = u - b * y / a, np.sqrt(inside) / a + np.float32(0.01)
    first, last = max(middle - reach, _0), min(middle + reach, np.float32(across - 1))
    return int(np.ceil(first)), int(np.floor(last)) + 1


@no_type_check
@_inlined
def _opacity(f, x, y):
    """Opacity of a Gaussian x and y pixels from its center; it may be more than the most it can hide."""
    return np.exp(f[5] - _HALF * (f[2] * x * x + f[4] * y * y) - f[3] * x * y)


@no_type_check
@_kernel
def blend(features, who, start, length, columns, result, first, step):
    """Blend Gaussians nearest first into the image `result` [5, h, w] (`VisibleSplats`, `tile_lists`)."""
    height, width = result.shape[1:]
    light = np.empty((TILE, TILE), np.float32)
    layers = np.empty((TILE, TILE, 5), np.float32)
    for tile in range(first, len(start), step):
        top, left = tile // columns * TILE, tile % columns * TILE
        rows, across = min(TILE, height - top), min(TILE, width - left)
        light[:] = _1
        layers[:] = _0
        unfinished = rows * across
        for n in range(start[tile], start[tile] + length[tile]):
            f = features[who[n]]
            u, v = f[0] - np.float32(left) - _HALF, f[1] - np.float32(top) - _HALF  # from the first pixel's center
            for i in range(rows):
                y = np.float32(i) - v
                begin, end = _span(f, u, y, across)
                for j in range(begin, end):
                    before = light[i, j]
                    if before < _0:
                        continue
                    alpha = min(_opacity(f, np.float32(j) - u, y), _OPAQUE)
                    if alpha < _FAINT:
                        continue
                    after = before * (_1 - alpha)
                    if after <= _DARK:
                        light[i, j] = -_1  # finished
                        unfinished -= 1
                        continue
                    light[i, j] = after
                    weight = alpha * before
                    for k in range(4):
                        layers[i, j, k] += weight * f[6 + k]
                    layers[i, j, 4] += weight
            if unfinished == 0:
                break
        for i in range(rows):
            for j in range(across):
                for k in range(5):
                    result[k, top + i, left + j] = layers[i, j, k]


@no_type_check
@_inlined
def _load(slopes, result, top, left, rows, across, g, behind):
    """One tile's gradients of the image, and add to `behind` what all of its layers are worth by them."""
    for i in range(rows):
        for j in range(across):
            for k in range(5):
                g[i, j, k] = slopes[k, top + i, left + j]
                behind[i, j] += g[i, j, k] * result[k, top + i, left + j]


@no_type_check
@_kernel
def unblend(features, who, start, length, columns, result, slopes, pairs, first, step):
    """Fill `pairs` [pairs, 10] with the gradients of each tile's Gaussians, given those of the image, `slopes`.

    The order is that of the forward pass. What lies behind a Gaussian, weighted by the slopes, is what the finished
    image has more than what was added so far.
    """
    height, width = result.shape[1:]
    light = np.empty((TILE, TILE), np.float32)
    behind = np.empty((TILE, TILE), np.float32)
    g = np.empty((TILE, TILE, 5), np.float32)
    for tile in range(first, len(start), step):
        top, left = tile // columns * TILE, tile % columns * TILE
        rows, across = min(TILE, height - top), min(TILE, width - left)
        light[:] = _1
        behind[:] = _0
        _load(slopes, result, top, left, rows, across, g, behind)
        unfinished = rows * across
        for n in range(start[tile], start[tile] + length[tile]):
            f = features[who[n]]
            u, v = f[0] - np.float32(left) - _HALF, f[1] - np.float32(top) - _HALF
            du = dv = da = db = dc = dopacity = dred = dgreen = dblue = dz = _0
            for i in range(rows):
                y = np.float32(i) - v
                begin, end = _span(f, u, y, across)
                for j in range(begin, end):
                    before = light[i, j]
                    if before < _0:
                        continue
                    x = np.float32(j) - u
                    opacity = _opacity(f, x, y)
                    alpha = min(opacity, _OPAQUE)
                    if alpha < _FAINT:
                        continue
                    after = before * (_1 - alpha)
                    if after <= _DARK:
                        light[i, j] = -_1
                        unfinished -= 1
                        continue
                    light[i, j] = after
                    weight = alpha * before
                    own = g[i, j, 0] * f[6] + g[i, j, 1] * f[7] + g[i, j, 2] * f[8] + g[i, j, 3] * f[9] + g[i, j, 4]
                    behind[i, j] -= weight * own
                    dred += weight * g[i, j, 0]
                    dgreen += weight * g[i, j, 1]
                    dblue += weight * g[i, j, 2]
                    dz += weight * g[i, j, 3]
                    if opacity <= _OPAQUE:
                        # Along the logarithm of alpha: a Gaussian adds its own color and hides what is behind.
                        slope = weight * own - behind[i, j] * alpha / (_1 - alpha)
                        du += slope * (f[2] * x + f[3] * y)
                        dv += slope * (f[4] * y + f[3] * x)
                        da -= slope * _HALF * x * x
                        db -= slope * x * y
                        dc -= slope * _HALF * y * y
                        dopacity += slope
            d = pairs[n]
            d[0], d[1], d[2], d[3], d[4], d[5] = du, dv, da, db, dc, dopacity
            d[6], d[7], d[8], d[9] = dred, dgreen, dblue, dz
            if unfinished == 0:
                break


@no_type_check
@_kernel
def gather(pairs, who, total):
    """Sum the tiles' gradients of each Gaussian in the order of tiles: the same bits from any number of threads."""
    for n in range(len(who)):
        for k in range(total.shape[1]):
            total[who[n], k] += pairs[n, k]
