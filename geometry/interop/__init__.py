"""Values of other libraries to and from ours, and their versions of what we do; each is loaded only when called.

kornia     cameras
open3d     cameras, meshes, points; truncated signed distance fusion (`geometry.tsdf` is our own)
pytorch3d  cameras, meshes, points; rasterising (`geometry.rasterising` is our own)
trimesh    cameras, meshes, points
"""

from collections.abc import Iterable

from geometry.errors import InputError


def one_size(what: str, sizes: Iterable[tuple[float, float]]) -> tuple[int, int]:
    """The one (height, width) of all pictures. Raises InputError, naming what they belong to, for none or several."""
    found = {(int(height), int(width)) for height, width in sizes}
    if len(found) != 1:
        raise InputError(f"{what}: pictures of sizes {sorted(found)}; expected one size")
    return found.pop()
