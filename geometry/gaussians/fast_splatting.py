"""Blending Gaussians on a CPU by numba: the images and gradients of `geometry.gaussians.splatting`, many times faster.

Numba is loaded at the first image; what it compiles (`geometry/gaussians/splat_kernels.py`) is cached on disk. Tiles
are shared among as many threads as torch uses; the number of threads changes no bit of the result.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from geometry.gaussians.splatting import TILE, VisibleSplats, tile_lists
from geometry.shapes import Float


def blend_cpu(visible: VisibleSplats, hw: tuple[int, int]) -> Float[torch.Tensor, "5 h w"]:
    """What `geometry.gaussians.splatting.blend` gives, in float32 on a CPU, differentiable in the features."""
    image: Any = _Blend.apply(visible.features, visible.box, hw)
    return image


class _Blend(torch.autograd.Function):
    """Features [m, 10] to an image [5, h, w]."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, box: torch.Tensor, hw: tuple[int, int]) -> torch.Tensor:
        from geometry.gaussians.splat_kernels import blend

        ctx.columns = -(-hw[1] // TILE)
        lists = tile_lists(box, (-(-hw[0] // TILE), ctx.columns))
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
    """Give each of n threads every n-th tile: neighboring tiles have about as much to do."""
    threads = torch.get_num_threads()
    if threads == 1:
        work(0, 1)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first: work(first, threads), range(threads)))
