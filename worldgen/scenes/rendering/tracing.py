"""`trace`: what rays hit first, by numba where it can do it and by torch elsewhere.

Rays come in bundles of neighbors (a tile of an image, the shadow rays from it). A bundle is bounded by a cone with a
ball for its tip, and only the primitives whose bounding balls a cone touches are tried on its rays: the cost grows with
what is seen, not with how much there is. `worldgen/scenes/rendering/torch/tracing.py` is the reference, on any device
and in any float type; `worldgen/scenes/rendering/numba/tracing.py` is the same for a CPU.
"""

import torch
from torch import Tensor

from geometry.optional import has_numba
from geometry.shapes import Float
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.torch.tracing import trace_torch


def trace(
    solids: Solids, origin: Float[Tensor, "p #t 3 #k"], direction: Float[Tensor, "p #t 3 #k"], reference: bool = False
) -> Hits:
    """The first primitive along each of k rays in each of t bundles of p images, hit from outside; without gradients.

    Args:
        solids: The primitives of p images.
        origin: [p, t, 3, k] metres; an axis of length 1 is shared by a bundle, or by an image.
        direction: [p, t, 3, k] of any length, shared in the same way.
        reference: Trace by torch also where numba could do it.

    Returns:
        Ray parameters, slots and triangles [p, t, k].
    """
    with torch.no_grad():
        fast = solids.kind.device.type == "cpu" and direction.dtype == torch.float32 and has_numba()
        if fast and not reference:
            from worldgen.scenes.rendering.numba.tracing import trace_numba

            return trace_numba(solids, origin, direction)
        return trace_torch(solids, origin, direction)
