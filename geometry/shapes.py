"""Array shapes in signatures: jaxtyping's where it is loaded, plain tensors where it is not.

Shapes are documentation at run time. Beartype checks them in the tests, which load jaxtyping first; the documentation's
build does so too, to show them. Elsewhere they would cost more time at import than all else in `geometry`.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Int, UInt8
else:

    class _Shape:
        def __class_getitem__(cls, item: tuple[type, str]) -> type:
            return item[0]

    Bool = Float = Int = UInt8 = _Shape

__all__ = ["Bool", "Float", "Int", "UInt8"]
