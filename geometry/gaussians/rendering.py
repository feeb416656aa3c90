"""Images of `Splats`: the one place that chooses the backend, numba, gsplat or the torch reference."""

from collections.abc import Callable
from typing import Literal

import torch

from geometry.camera.cameras import Cameras
from geometry.gaussians import fast_splatting
from geometry.gaussians.splats import Splats
from geometry.gaussians.splatting import VisibleSplats, blend, visible_splats
from geometry.optional import has_numba
from geometry.shapes import Float

Backend = Literal["torch", "numba", "gsplat"]


def render_splats(
    splats: Splats,
    cameras: Cameras,
    background: Float[torch.Tensor, "3"] | None = None,
    antialiased: bool = False,
    backend: Backend | None = None,
) -> tuple[Float[torch.Tensor, "*b 3 h w"], Float[torch.Tensor, "*b 1 h w"], Float[torch.Tensor, "*b 1 h w"]]:
    """Blend Gaussians front to back (Kerbl et al. 2023, eq. 3); differentiable in everything.

    Depth is the mean over what is seen, weighted by how much. A Gaussian counts in a pixel where its opacity there is
    1/255 or more, and hides at most 0.999; a pixel is finished before the Gaussian that would leave a share of 1e-4 or
    less of the light behind. Gaussians whose centers are less than a centimetre ahead are not seen.

    Args:
        splats: n Gaussians.
        cameras: pinhole cameras of batch shape b.
        background: rgb behind the Gaussians; black by default.
        antialiased: Gaussians smaller than a pixel fade instead of growing (Yu et al. 2023, "Mip-Splatting").
        backend: None = gsplat on CUDA; numba on a CPU in float32 where it is installed; else torch.

    Returns:
        rgb [*b, 3, h, w] sRGB, depth [*b, 1, h, w] z in metres (0 = nothing there), and alpha [*b, 1, h, w] in 0..1.

    Raises:
        InputError: a lens other than a pinhole, or a backend that is missing or cannot do it.
    """
    cameras.check_pinhole("splats")
    cameras = cameras.to(splats.means.dtype).to(splats.means.device)
    backend = backend or _backend_for(splats)
    flat = cameras.reshape(-1)
    if backend == "gsplat":
        from geometry.interop.gsplat import rasterize_gsplat  # which takes our Gaussians, so that it imports them

        layers = rasterize_gsplat(splats, flat, antialiased)
    else:
        blender: Callable[[VisibleSplats, tuple[int, int]], torch.Tensor] = (
            fast_splatting.blend_cpu if backend == "numba" else blend
        )
        images = [blender(visible_splats(splats, flat[i], antialiased), cameras.hw) for i in range(len(flat))]
        layers = torch.stack(images) if images else splats.means.new_zeros(0, 5, *cameras.hw)
    rgb, depth, alpha = layers.reshape(*cameras.shape, 5, *cameras.hw).split([3, 1, 1], -3)
    if background is not None:
        rgb = rgb + (1 - alpha) * background.to(rgb)[:, None, None]
    return rgb, depth / torch.where(alpha > 0, alpha, torch.ones_like(alpha)), alpha


def _backend_for(splats: Splats) -> Backend:
    if splats.means.device.type == "cuda":
        return "gsplat"
    plain = splats.means.device.type == "cpu" and splats.means.dtype == torch.float32
    return "numba" if plain and has_numba() else "torch"
