"""Images, frames and depth from whatever holds them: the one place where their type, layout and range are decided.

Taken are torch tensors, NumPy arrays (and what converts to one), PIL images and nested lists.

type    uint8 means 0..255 and uint16 0..65535, both become 0..1; floats mean 0..1, half floats become float32; other
        integers and booleans do not say what they mean and are refused
layout  channels first or last, whichever axis has 1, 3 or 4 entries. Where both have, a torch tensor whose channels
        come first is [3, h, w] as everywhere here, and anything else is refused
colors  gray becomes three equal channels, and what is transparent lies over white, as `geometry.io.read_image` has it
range   0..1, beyond which resampling may reach by a quarter; NaN and Inf never
depth   floats in metres: 0 = unknown, inf = sky. Integers are refused, for their unit is not known
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    _Array = Tensor | np.ndarray[Any, Any] | Image.Image | Sequence[Any]
else:
    _Array = Any  # what it is, is checked below: the error then says what was expected

ImageLike = Annotated[_Array, "3 h w"]
FramesLike = Annotated[_Array, "f 3 h w"]
DepthLike = Annotated[_Array, "1 h w"]
DepthsLike = Annotated[_Array, "f 1 h w"]
MapsLike = Annotated[_Array, "*b c h w"]

OVERSHOOT = 0.25  # how far resampling may reach beyond 0..1
_LARGEST = {torch.uint8: 255, torch.uint16: 65535}


def as_image(
    value: ImageLike, name: str = "image", *, beyond: float = OVERSHOOT, double: bool = False
) -> Float[Tensor, "3 h w"]:
    """An image in any usual form as the tensor that all functions here take.

    Args:
        value: A torch tensor, NumPy array, PIL image (as stored, its EXIF orientation ignored) or nested list,
            [3, h, w] or [h, w, 3], or with 1 or 4 channels, or [h, w]; uint8 in 0..255, uint16 in 0..65535, or
            floats in 0..1.
        name: What errors call it.
        beyond: How far floats may reach beyond 0..1: inf where light may be brighter than 1.
        double: Whether float64 stays.

    Returns:
        sRGB in 0..1, float32. A tensor that is so already is returned itself.

    Raises:
        InputError: For other types, shapes and ranges, NaN and Inf, and shapes that can be read in two ways.
    """
    if is_pil(value):
        return image_of_pil(value, name)
    pixels = tensor_of(value, name, "an image [3, h, w] or [h, w, 3]")
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.ndim != 3:
        raise InputError(f"{name}: shape {tuple(pixels.shape)}; expected one image, [3, h, w] or [h, w, 3]")
    else:
        pixels = _channels_first(pixels, name, isinstance(value, Tensor))
    return _three_channels(unit_range(pixels, name, beyond, double))


def as_frames(
    value: FramesLike, name: str = "frames", *, beyond: float = OVERSHOOT, double: bool = False, batch: bool = False
) -> Float[Tensor, "*b f 3 h w"]:
    """Frames in any usual form as the tensor that all functions here take.

    Args:
        value: [f, 3, h, w] or [f, h, w, 3] of the types that `as_image` takes, or a list of f images of one size.
        name: What errors call it.
        beyond: As of `as_image`.
        double: As of `as_image`.
        batch: Whether there may be further axes before the frames, or none at all.

    Returns:
        sRGB in 0..1 [f, 3, h, w], float32. A tensor that is so already is returned itself.

    Raises:
        InputError: As `as_image`, and for images of several sizes.
    """
    if isinstance(value, list | tuple) and value and (is_pil(value[0]) or hasattr(value[0], "__array__")):
        images = [as_image(image, f"{name}[{i}]", beyond=beyond, double=double) for i, image in enumerate(value)]
        sizes = sorted({tuple(image.shape[-2:]) for image in images})
        if len(sizes) > 1:
            raise InputError(f"{name}: images of sizes {sizes[:4]} (height, width); expected one size")
        return torch.stack(images)
    wanted = "frames, [f, 3, h, w] or [f, h, w, 3]"
    frames = tensor_of(value, name, wanted)
    if frames.ndim < 3 or (frames.ndim != 4 and not batch):
        hint = ": for one frame give a list of one image" if frames.ndim == 3 else ""
        raise InputError(f"{name}: shape {tuple(frames.shape)}; expected {wanted}{hint}")
    frames = _channels_first(frames, name, isinstance(value, Tensor))
    return _three_channels(unit_range(frames, name, beyond, double))


def as_depth(value: DepthLike, name: str = "depth", *, double: bool = False) -> Float[Tensor, "1 h w"]:
    """A depth map in any usual form as the tensor that all functions here take.

    Args:
        value: A torch tensor, NumPy array, PIL image or nested list of floats, [1, h, w], [h, w, 1] or [h, w]; metres,
            0 = unknown, inf = sky.
        name: What errors call it.
        double: Whether float64 stays.

    Returns:
        Metres, float32. A tensor that is so already is returned itself.

    Raises:
        InputError: For other shapes, integers (their unit is not known), NaN and negative depth.
    """
    depth = tensor_of(value, name, "depth [1, h, w] or [h, w]")
    depth = depth[None] if depth.ndim == 2 else depth
    if depth.ndim != 3 or 1 not in (depth.shape[0], depth.shape[2]):
        raise InputError(f"{name}: shape {tuple(depth.shape)}; expected depth [1, h, w], [h, w, 1] or [h, w]")
    return metres(depth if depth.shape[0] == 1 else depth.movedim(-1, 0).contiguous(), name, double)


def as_depths(
    value: DepthsLike, name: str = "depth", *, double: bool = False, batch: bool = False
) -> Float[Tensor, "*b f 1 h w"]:
    """Depth maps in any usual form as the tensor that all functions here take.

    Args:
        value: [f, 1, h, w], [f, h, w, 1] or [f, h, w] as `as_depth` takes it, or a list of f depth maps of one size.
        name: What errors call it.
        double: Whether float64 stays.
        batch: As of `as_frames`; then depth has an axis of 1.

    Returns:
        Metres [f, 1, h, w], float32. A tensor that is so already is returned itself.

    Raises:
        InputError: As `as_depth`, and for maps of several sizes.
    """
    if isinstance(value, list | tuple) and value and (is_pil(value[0]) or hasattr(value[0], "__array__")):
        maps = [as_depth(depth, f"{name}[{i}]", double=double) for i, depth in enumerate(value)]
        if len({depth.shape for depth in maps}) > 1:
            raise InputError(f"{name}: maps of sizes {sorted({tuple(m.shape[-2:]) for m in maps})[:4]}; expected one")
        return torch.stack(maps)
    depth = tensor_of(value, name, "depth [f, 1, h, w]")
    depth = depth[:, None] if depth.ndim == 3 and not batch else depth
    if depth.ndim < 3 or (depth.ndim != 4 and not batch) or 1 not in (depth.shape[-3], depth.shape[-1]):
        raise InputError(f"{name}: shape {tuple(depth.shape)}; expected depth [f, 1, h, w], [f, h, w, 1] or [f, h, w]")
    return metres(depth if depth.shape[-3] == 1 else depth.movedim(-1, -3).contiguous(), name, double)


def as_maps(value: MapsLike, name: str = "maps", hw: tuple[int, int] | None = None) -> Float[Tensor, "*b c h w"]:
    """Maps of any number of channels as floats: bytes in 0..1, floats of any range, with NaN and Inf; float64 stays.

    Args:
        value: A torch tensor, NumPy array, PIL image or nested list, [*b, c, h, w]; or [*b, h, w, c] where `hw` tells.
        name: What errors call it.
        hw: Height and width that the maps have to have, if they are known.

    Raises:
        InputError: For other integers, booleans, and other shapes.
    """
    maps = image_of_pil(value, name) if is_pil(value) else tensor_of(value, name, "maps [*b, c, h, w]")
    if hw is not None and maps.ndim > 2 and tuple(maps.shape[-2:]) != hw == tuple(maps.shape[-3:-1]):
        maps = maps.movedim(-1, -3).contiguous()
    if maps.ndim < 3 or (hw is not None and tuple(maps.shape[-2:]) != hw):
        size = "" if hw is None else f" of size {hw}"
        raise InputError(f"{name}: shape {tuple(maps.shape)}; expected [*b, c, h, w]{size}")
    if maps.dtype in _LARGEST:
        return maps.float() / _LARGEST[maps.dtype]
    if not maps.is_floating_point():
        raise InputError(f"{name}: values of {maps.dtype}; expected floats, uint8 (0..255) or uint16")
    return _floats(maps, double=True)


def unit_range(pixels: Tensor, name: str, beyond: float = OVERSHOOT, double: bool = False) -> Tensor:
    """Values of an image of any shape as floats in 0..1: uint8 and uint16 by their largest value, floats as they are.

    Args:
        pixels: Of any shape.
        name: What errors call it.
        beyond: As of `as_image`.
        double: As of `as_image`.

    Raises:
        InputError: For other types, values further beyond 0..1, NaN and Inf.
    """
    if pixels.dtype in _LARGEST:
        return pixels.float() / _LARGEST[pixels.dtype]
    if not pixels.is_floating_point():
        raise InputError(f"{name}: values of {pixels.dtype}; expected floats in 0..1, uint8 (0..255) or uint16")
    pixels = _floats(pixels, double)
    if pixels.numel():
        low, high = (float(bound) for bound in pixels.detach().aminmax())
        if not -float("inf") < low <= high < float("inf"):
            raise InputError(f"{name}: NaN or Inf; expected finite values")
        if not -beyond <= low <= high <= 1 + beyond:
            raise InputError(f"{name}: values from {low:g} to {high:g}; expected 0..1{_hint(low, high)}")
    return pixels


def metres(depth: Tensor, name: str, double: bool = False) -> Tensor:
    """Values of depth of any shape, checked: floats, none of them negative or NaN."""
    if not depth.is_floating_point():
        raise InputError(f"{name}: depth of {depth.dtype}, whose unit is not known; expected floats in metres")
    depth = _floats(depth, double)
    if depth.numel() and not float(depth.detach().amin()) >= 0:
        raise InputError(f"{name}: negative or NaN depth; expected metres, 0 = unknown, inf = sky")
    return depth


def tensor_of(value: Any, name: str, wanted: str) -> Tensor:
    """A tensor of the numbers in a tensor, array, PIL image or nested list, as they are. Raises InputError."""
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except Exception as error:  # rows of different lengths, arrays on another device, or anything with an `__array__`
        raise InputError(
            f"{name}: {type(value).__name__} that is not an array of numbers; expected {wanted}"
        ) from error
    if array.dtype.kind not in "buif":
        seen = f"the text {str(value)[:60]!r}" if array.dtype.kind == "U" else f"{type(value).__name__} without numbers"
        raise InputError(f"{name}: {seen}; expected {wanted}")
    kind = np.dtype(np.float64) if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(array, kind))


def image_of_pil(image: "Image.Image", name: str) -> Float[Tensor, "3 h w"]:
    """A PIL image as stored: gray in three channels, 16 bits by their range, what is transparent over white.

    Args:
        image: Of any mode but floating-point numbers.
        name: What errors call it.

    Raises:
        InputError: For floating-point numbers, whose range is not known.
    """
    from PIL import Image

    if image.mode == "F":
        raise InputError(f"{name}: image of floating-point numbers; expected 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        gray = torch.from_numpy(np.asarray(image).astype(np.float32)) / 65535
        return gray.clamp(0, 1).expand(3, -1, -1).clone()
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).contiguous().float() / 255


def is_pil(value: Any) -> "TypeGuard[Image.Image]":
    """Whether it is a PIL image, without loading PIL."""
    loaded = sys.modules.get("PIL.Image")
    return loaded is not None and isinstance(value, loaded.Image)


def _channels_first(pixels: Tensor, name: str, is_torch: bool) -> Tensor:
    """[..., c, h, w] of an image in either layout. Raises InputError for neither, and where both are possible."""
    shape = tuple(pixels.shape)
    if 0 in shape[-3:]:
        raise InputError(f"{name}: shape {shape} without pixels; expected at least one")
    first, last = shape[-3] in (1, 3, 4), shape[-1] in (1, 3, 4)
    if first and (not last or (is_torch and shape[-3] == 3)):
        return pixels
    if first:
        raise InputError(
            f"{name}: shape {shape}, whose channels may be first or last; expected a torch tensor [..., 3, h, w] where "
            "an image is so small"
        )
    if not last:
        raise InputError(f"{name}: shape {shape}; expected 3 channels (or 1 or 4), [..., 3, h, w] or [..., h, w, 3]")
    return pixels.movedim(-1, -3).contiguous()


def _three_channels(pixels: Tensor) -> Tensor:
    channels = pixels.shape[-3]
    if channels == 3:
        return pixels
    if channels == 1:
        return pixels.repeat_interleave(3, -3)
    rgb, opacity = pixels.split([3, 1], -3)
    return rgb * opacity + (1 - opacity)


def _floats(values: Tensor, double: bool) -> Tensor:
    return values if values.dtype == torch.float32 or (double and values.dtype == torch.float64) else values.float()


def _hint(low: float, high: float) -> str:
    if low >= 0 and high <= 65535:
        return f" (divide by {255 if high <= 255 else 65535}?)"
    return " (add 1 and halve?)" if low >= -1 and high <= 1 + OVERSHOOT else ""
