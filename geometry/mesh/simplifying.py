"""Simplifying meshes by quadric error metrics (Garland and Heckbert 1997)."""

import numpy as np
import torch

from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.mesh.meshes import Mesh
from geometry.optional import from_extra, load_optional


def simplify(mesh: Mesh, faces: int) -> Mesh:
    """Collapse edges, the least harmful first, by the library fast-simplification (the `[mesh]` extra).

    Each vertex takes the mean color, in linear light, of all vertices that were merged into it.

    Args:
        mesh: any mesh.
        faces: about the number of triangles to leave, 4 or more.

    Returns:
        The simplified mesh; the mesh itself where it has no more faces than that.

    Raises:
        InputError: fewer than 4 faces, vertices with NaN or Inf, or the library is missing.
    """
    if faces < 4:
        raise InputError(f"simplifying to {faces} faces; expected at least 4")
    if not bool(mesh.vertices.isfinite().all()):
        raise InputError("simplifying: vertices with NaN or Inf; expected finite numbers")
    if len(mesh.faces) <= faces:
        return mesh
    library = load_optional("fast_simplification", "fast_simplification", from_extra("mesh"))
    corners = mesh.vertices.detach().double().cpu().numpy()
    middle = corners.mean(0)  # the library computes in single precision in places
    triangles = mesh.faces.cpu().numpy().astype(np.int32)
    _, _, collapses = library.simplify(corners - middle, triangles, target_count=faces, return_collapses=True)
    found, kept, target = library.replay_simplification(corners - middle, triangles, collapses)
    vertices = torch.from_numpy(found + middle).to(mesh.vertices)
    left = torch.from_numpy(kept.astype(np.int64)).to(mesh.faces.device)
    if mesh.colors is None:
        return Mesh(vertices, left)
    light = linear_from_srgb(mesh.colors.detach().double())
    merged = torch.from_numpy(target.astype(np.int64)).to(light.device)
    merged, light = merged[merged >= 0], light[merged >= 0]  # whole pieces may vanish
    total = light.new_zeros(len(vertices), 3).index_add(0, merged, light)
    count = torch.bincount(merged, minlength=len(vertices)).clamp_min(1)
    return Mesh(vertices, left, srgb_from_linear(total / count[:, None]).to(mesh.colors.dtype))
