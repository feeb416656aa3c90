"""Array shapes in signatures: jaxtyping where it is installed, plain tensors where it is not.

Shapes are documentation at run time and are checked by beartype in the tests only, so that training and sampling need
nothing beyond torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ModuleNotFoundError:

        class _Shape:
            def __class_getitem__(cls, item: tuple[type, str]) -> type:
                return item[0]

        Bool = Float = Int = UInt8 = _Shape

__all__ = ["Bool", "Float", "Int", "UInt8"]
