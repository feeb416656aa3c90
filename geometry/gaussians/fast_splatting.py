"""Blending Gaussians on a CPU: the same images and gradients as `geometry.gaussians.splatting` gives, many times
sooner.

Numba is loaded when an image is first made; what it compiles (`geometry/gaussians/splat_kernels.py`) is kept on disk.
Tiles are shared among as many threads as torch uses; their number changes no bit of the result.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from geometry.shapes import Float, Int

_TILE = 16


def blend_cpu(
    features: Float[torch.Tensor, "m 10"], box: Int[torch.Tensor, "m 4"], hw: tuple[int, int]
) -> Float[torch.Tensor, "5 h w"]:
    """An image of Gaussians in float32, nearest first (`geometry.gaussians.splatting`), differentiable in their
    features."""
    image: Any = _Blend.apply(features, box, hw)
    return image


class _Blend(torch.autograd.Function):
    """Features [m, 10] to an image [5, h, w]."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, box: torch.Tensor, hw: tuple[int, int]) -> torch.Tensor:
        from geometry.gaussians.splat_kernels import blend
        from geometry.gaussians.splatting import tile_lists

        ctx.columns = -(-hw[1] // _TILE)
        lists = tile_lists(box, (-(-hw[0] // _TILE), ctx.columns))
        result = torch.zeros(5, *hw)
        ctx.save_for_backward(features, *lists, result)
        arrays = [values.numpy() for values in (features.detach().contiguous(), *lists)]
        _in_threads(lambda first, step: blend(*arrays, ctx.columns, result.numpy(), first, step))
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        from geometry.gaussians.splat_kernels import gather, unblend

        features, who, start, length, result = ctx.saved_tensors
        arrays = [values.detach().contiguous().numpy() for values in (features, who, start, length)]
        images = [values.detach().contiguous().numpy() for values in (result, gradients[0])]
        pairs, total = np.zeros((len(who), features.shape[1]), np.float32), torch.zeros_like(features)
        _in_threads(lambda first, step: unblend(*arrays, ctx.columns, *images, pairs, first, step))
        gather(pairs, arrays[1], total.numpy())
        return total, None, None


def _in_threads(work: Callable[[int, int], None]) -> None:
    """Every n-th tile from one on, by each of n threads: neighbors have about as much to do."""
    threads = torch.get_num_threads()
    if threads == 1:
        work(0, 1)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first: work(first, threads), range(threads)))
