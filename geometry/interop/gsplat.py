"""gsplat's CUDA rasterizer behind our signature."""

import importlib
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.gaussians.harmonics import degree_of
from geometry.gaussians.projection import NEAR_M
from geometry.gaussians.splats import Splats
from geometry.shapes import Float


def rasterize_gsplat(splats: Splats, cameras: Cameras, antialiased: bool) -> Float[torch.Tensor, "b 5 h w"]:
    """Blend Gaussians by gsplat, as `geometry.gaussians.splatting.blend` does.

    Args:
        splats: Gaussians in float32 on CUDA.
        cameras: pinhole cameras of batch shape [b].
        antialiased: Gaussians smaller than a pixel fade instead of growing.

    Returns:
        Red, green, blue, depth and 1, each the sum over Gaussians weighted by how much of them is seen.

    Raises:
        InputError: gsplat or its kernels are missing, or the Gaussians are not float32 on CUDA.
    """
    rasterization = _rasterization()
    if splats.means.device.type != "cuda" or splats.means.dtype != torch.float32:
        raise InputError(
            f"splats: {splats.means.dtype} on {splats.means.device} for gsplat; expected float32 on CUDA, "
            "or backend='torch'"
        )
    height, width = cameras.hw
    layers, alpha, _ = rasterization(
        splats.means,
        splats.quaternions_wxyz,
        splats.scales,
        splats.opacities,
        splats.harmonics,
        cameras.camera_from_world,
        cameras.K,
        width,
        height,
        near_plane=NEAR_M,
        sh_degree=degree_of(splats.harmonics.shape[1]),
        render_mode="RGB+D",
        rasterize_mode="antialiased" if antialiased else "classic",
    )
    return torch.cat([layers, alpha], -1).movedim(-1, -3)


def _rasterization() -> Any:
    """gsplat's function, once its kernels are known to be there: it imports without them too."""
    try:
        kernels = importlib.import_module("gsplat.cuda._backend")._C
        function = importlib.import_module("gsplat").rasterization
    except Exception as error:  # compiling kernels can fail in many ways
        raise InputError(f"{_MISSING} ({type(error).__name__})") from error
    if kernels is None:
        raise InputError(f"{_MISSING} (no CUDA toolkit was found to compile its kernels)")
    return function


_MISSING = "gsplat cannot be loaded; expected pip install gsplat and a CUDA toolkit, or backend='torch'"
