"""OpenEXR: color in linear light and z-depth in metres as floats, losslessly (the `[exr]` extra).

Channels R, G, B are linear light with the primaries of sRGB, Z is z-depth: 0 = unknown, inf = sky.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.image.coercion import DepthLike, ImageLike, as_depth, as_image
from geometry.io.files import check_file, replacing
from geometry.optional import from_extra, load_optional
from geometry.shapes import Float

_NOTE = "RGB in linear light; Z is z-depth in metres, 0 = unknown, inf = sky"


def write_exr(
    path: Path | str,
    rgb: ImageLike | None = None,
    depth: DepthLike | None = None,
) -> None:
    """Write an image, a depth map, or both, as 32-bit floats.

    Args:
        path: the file.
        rgb: sRGB [3, h, w], or what else `geometry.as_image` takes; values above 1 stay as they are.
        depth: z in metres, 0 = unknown, inf = sky, of the same size.

    Raises:
        InputError: neither is given, sizes differ, NaN, Inf in colors, negative depth, or OpenEXR is missing.
    """
    path = Path(path)
    exr = _openexr()
    rgb = None if rgb is None else as_image(rgb, f"{path}: image", beyond=torch.inf)
    depth = None if depth is None else as_depth(depth, f"{path}: depth")
    sizes = {tuple(values.shape[-2:]) for values in (rgb, depth) if values is not None}
    if len(sizes) != 1:
        raise InputError(f"{path}: images of sizes {sorted(sizes)} (height, width); expected one size")
    channels: dict[str, np.ndarray] = {}
    if rgb is not None:
        light = linear_from_srgb(rgb.detach().cpu())
        channels |= {name: layer.contiguous().numpy() for name, layer in zip("RGB", light)}
    if depth is not None:
        channels["Z"] = depth.detach().cpu()[0].contiguous().numpy()
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage, "comments": _NOTE}
    with replacing(path) as temporary, exr.File(header, channels) as file:
        try:
            file.write(str(temporary))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written; expected a writable place") from error


def read_exr(
    path: Path | str, max_side: int = 16384
) -> tuple[Float[torch.Tensor, "3 h w"] | None, Float[torch.Tensor, "1 h w"] | None]:
    """Read an image and a depth map: channels R, G, B, or Y alone as gray; Z for depth.

    Args:
        path: half or 32-bit floats, one part of scan lines or tiles.
        max_side: limit of height and width.

    Returns:
        The image (sRGB) and the depth map (z in metres, 0 = unknown, inf = sky), float32; None for what is not there.

    Raises:
        InputError: the file is missing, damaged, larger than `max_side`, subsampled or without these channels; NaN, Inf
            in colors, negative depth, or OpenEXR is missing.
    """
    path = Path(path)
    exr = _openexr()
    check_file(path, "an OpenEXR image", 2**31)
    try:
        with exr.File(str(path), header_only=True) as file:
            low, high = file.header()["dataWindow"]
            width, height = (int(b) - int(a) + 1 for a, b in zip(low, high))
        if not 1 <= min(width, height) <= max(width, height) <= max_side:
            raise InputError(f"{path}: image of {width}x{height} pixels; expected sides of 1 to {max_side}")
        with exr.File(str(path), separate_channels=True) as file:
            layers = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    except InputError:
        raise
    except Exception as error:  # a decoder can raise nearly anything on a broken file
        raise InputError(
            f"{path}: damaged, or not an OpenEXR image; expected one part of scan lines or tiles"
        ) from error
    colors = [name for name in ("RGB" if "R" in layers else "YYY") if name in layers]
    found = [*colors, *(["Z"] if "Z" in layers else [])]
    if not found or len(colors) not in (0, 3):
        raise InputError(f"{path}: channels {', '.join(sorted(layers))[:60]}; expected R, G, B or Y, and Z for depth")
    if any(layers[name].shape != (height, width) or layers[name].dtype.kind != "f" for name in found):
        raise InputError(f"{path}: channels of integers or of fewer pixels; expected a float for each pixel")
    tensors = [torch.from_numpy(layers[name].astype(np.float32)) for name in found]
    rgb = srgb_from_linear(torch.stack(tensors[:3])) if colors else None
    depth = tensors[-1][None] if "Z" in layers else None
    if rgb is not None and not bool(rgb.isfinite().all()):
        raise InputError(f"{path}: colors with NaN or Inf; expected finite numbers")
    if depth is not None and not bool((depth >= 0).all()):
        raise InputError(f"{path}: depth with negative or NaN values; expected metres, 0 = unknown, inf = sky")
    return rgb, depth


def _openexr() -> Any:
    return load_optional("OpenEXR", "OpenEXR", from_extra("exr"))
