"""Values of other libraries to and from ours, and their versions of what we do; each is loaded only when called.

kornia     cameras
open3d     cameras, meshes, points; truncated signed distance fusion (`geometry.mesh.tsdf` is our own)
pytorch3d  cameras, meshes, points; rasterizing (`geometry.mesh.rasterizing` is our own)
trimesh    cameras, meshes, points
"""

from collections.abc import Iterable, Sequence

from geometry.errors import InputError


def one_size(what: str, sizes: Iterable[Sequence[int | float]]) -> tuple[int, int]:
    """The one (height, width) of all images. Raises InputError, naming what they belong to, for none or several."""
    found = {(int(height), int(width)) for height, width in sizes}
    if len(found) != 1:
        raise InputError(f"{what}: images of sizes {sorted(found)}; expected one size")
    return found.pop()
