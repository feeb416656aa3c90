"""Images of one size: what cameras of other libraries must share to become `Cameras`."""

from collections.abc import Iterable, Sequence

from geometry.errors import InputError


def one_size(what: str, sizes: Iterable[Sequence[int | float]]) -> tuple[int, int]:
    """The one (height, width) of all images. Raises InputError, beginning with `what`, for none or several."""
    found = {(int(height), int(width)) for height, width in sizes}
    if len(found) != 1:
        raise InputError(f"{what}: images of sizes {sorted(found)}; expected one size")
    return found.pop()
