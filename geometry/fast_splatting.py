"""Blending Gaussians on a CPU, compiled by numba: the same pictures as `geometry.splatting`, many times sooner.

Numba is loaded when a picture is first made; what it compiles is kept on disk.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import no_type_check

import numpy as np
import torch

from geometry.shapes import Float, Int

_TILE, _OPAQUE, _FAINT, _DARK = 16, np.float32(0.999), np.float32(1 / 255), np.float32(1e-4)
_0, _1, _HALF, _LN_FAINT = np.float32(0), np.float32(1), np.float32(0.5), np.float32(np.log(1 / 255))


@cache
def has_numba() -> bool:
    """Whether the `[fast]` extra is installed."""
    return importlib.util.find_spec("numba") is not None


def blend_cpu(
    features: Float[torch.Tensor, "m 10"], box: Int[torch.Tensor, "m 4"], hw: tuple[int, int]
) -> Float[torch.Tensor, "5 h w"]:
    """A picture of Gaussians in float32, nearest first (`geometry.splatting`), without gradients."""
    from geometry.splatting import tile_lists

    grid = (-(-hw[0] // _TILE), -(-hw[1] // _TILE))
    result = np.zeros((5, *hw), np.float32)
    lists = [values.numpy() for values in tile_lists(box, grid)]
    _compiled()(features.detach().contiguous().numpy(), *lists, grid[1], result)
    return torch.from_numpy(result)


@cache
def _compiled() -> Callable[..., None]:
    from numba import njit

    return njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})(_blend)


@no_type_check
def _blend(features, who, start, length, columns, result):
    height, width = result.shape[1:]
    light = np.empty((_TILE, _TILE), np.float32)
    layers = np.empty((_TILE, _TILE, 5), np.float32)
    for tile in range(len(start)):
        top, left = tile // columns * _TILE, tile % columns * _TILE
        rows, across = min(_TILE, height - top), min(_TILE, width - left)
        light[:] = _1
        layers[:] = _0
        unfinished = rows * across
        for n in range(start[tile], start[tile] + length[tile]):
            f = features[who[n]]
            u, v = f[0] - np.float32(left) - _HALF, f[1] - np.float32(top) - _HALF  # from the first pixel's centre
            a, b, c, opacity = f[2], f[3], f[4], f[5]
            for i in range(rows):
                # The row's pixels inside the ellipse where the opacity is 1/255.
                y = np.float32(i) - v
                inside = (b * y) ** 2 - a * (c * y * y + np.float32(2) * (_LN_FAINT - opacity))
                if inside < _0:
                    continue
                middle, reach = u - b * y / a, np.sqrt(inside) / a + np.float32(0.01)
                first, last = max(middle - reach, _0), min(middle + reach, np.float32(across - 1))
                for j in range(int(np.ceil(first)), int(np.floor(last)) + 1):
                    before = light[i, j]
                    if before < _0:
                        continue
                    x = np.float32(j) - u
                    alpha = np.exp(opacity - _HALF * (a * x * x + c * y * y) - b * x * y)
                    alpha = min(alpha, _OPAQUE)
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
