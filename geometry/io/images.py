"""Images and depth maps in files. Embedded color profiles are not applied: numbers are taken as sRGB."""

import importlib.util
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from geometry.errors import InputError
from geometry.image.coercion import DepthLike, ImageLike, as_depth, as_image, image_of_pil
from geometry.io.files import check_file, write_file
from geometry.shapes import Float

if TYPE_CHECKING:
    from PIL import Image

_MIN_SIDE = 8
# And .png, which is written too.
SUFFIXES = (".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".avif", ".heic", ".heif")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_EXIF_ORIENTATION, _EXIF_IFD, _EXIF_FOCAL_35MM = 0x0112, 0x8769, 0xA405
_FILM_DIAGONAL_MM = math.hypot(36, 24)
_SKY = 65535
# Formats that not every Pillow reads: the first bytes of their files, and what reads them.
_MORE_FORMATS = (
    ("AVIF", (b"avif", b"avis"), "Pillow 11.3 or newer with AVIF: pip install --upgrade pillow"),
    ("HEIF", (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"), "the plugin pillow-heif: pip install pillow-heif"),
)


@cache
def _formats() -> tuple[str, ...]:
    """What Pillow calls the formats that can be read here: AVIF where it was built with it, HEIF with its plugin."""
    from PIL import features

    avif = ("AVIF",) if "avif" in features.modules and features.check_module("avif") else ()
    if importlib.util.find_spec("pillow_heif") is None:
        return (*_FORMATS, *avif)
    importlib.import_module("pillow_heif").register_heif_opener()
    return (*_FORMATS, *avif, "HEIF")


def _not_read(path: Path) -> str:
    """What to say of a file that Pillow cannot open: the plugin it takes, where it is of a format that has one."""
    with path.open("rb") as file:
        start = file.read(12)
    for name, brands, remedy in _MORE_FORMATS:
        if start[4:8] == b"ftyp" and start[8:12] in brands and name not in _formats():
            return f"{path}: {name} image, which cannot be read here; expected {remedy}"
    return f"{path}: not a readable image; expected one of {', '.join(_formats())}"


@contextmanager
def _opened(path: Path, max_side: int = 16384) -> Iterator["Image.Image"]:
    """The image in `path`, its header read and its size checked.

    Whatever fails in the block is the file's fault: a decoder can raise nearly anything on a broken one.
    """
    from PIL import Image

    check_file(path, f"an image ({', '.join(_FORMATS)})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is `max_side`
            image = Image.open(path, formats=_formats())
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: far too many pixels; expected sides of at most {max_side}") from error
    except Exception as error:
        raise InputError(_not_read(path)) from error
    with image:
        width, height = image.size
        if not _MIN_SIDE <= min(width, height) <= max(width, height) <= max_side:
            raise InputError(
                f"{path}: image of {width}x{height} pixels; expected sides of {_MIN_SIDE} to {max_side} pixels"
            )
        try:
            yield image
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: truncated or corrupt image; expected a complete file") from error


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 (as stored) to 8; 1 when the tag is absent or invalid."""
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def read_image(
    path: Path | str, max_side: int = 16384, upright: bool = True, shorter_side: int | None = None
) -> Float[torch.Tensor, "3 h w"]:
    """Read an image; the first frame of an animation.

    Transparent pixels are shown over white, as a browser would.

    Args:
        path: PNG, JPEG, WEBP, BMP, TIFF, GIF or PPM; AVIF and HEIC where Pillow can.
        max_side: limit of height and width, which the header tells before anything is decoded.
        upright: turn the image as its EXIF orientation says, as every viewer does. Posed images are read without, since
            calibration tools ignore the tag.
        shorter_side: pixels that are enough. An image of more than twice as many is shrunk to them while it is decoded,
            each axis by its own factor, so that `Cameras.resized` fits; it then takes RAM of a few bytes a pixel.

    Returns:
        sRGB in 0..1, float32.

    Raises:
        InputError: the file is missing, empty, truncated or not an image, or has sides below 8 or above `max_side`.
    """
    path = Path(path)
    from PIL import ImageOps

    with _opened(path, max_side) as image:
        orientation = _orientation(image)
        if shorter_side is not None and (hw := shrunk_hw((image.height, image.width), shorter_side)) is not None:
            image = _shrunk(image, hw)
            image.getexif()[_EXIF_ORIENTATION] = orientation
        if upright and orientation != 1:
            image = ImageOps.exif_transpose(image)
        return image_of_pil(image, str(path))


def shrunk_hw(hw: tuple[int, int], shorter_side: int) -> tuple[int, int] | None:
    """The size to which `read_image` shrinks an image of a size; None where it is read as it is."""
    factor = shorter_side / min(hw)
    return None if factor >= 0.5 else (max(1, round(hw[0] * factor)), max(1, round(hw[1] * factor)))


def _shrunk(image: "Image.Image", hw: tuple[int, int]) -> "Image.Image":
    """The image at a smaller size (bicubic, antialiased); a JPEG is decoded at a half, a quarter or an eighth."""
    from PIL import Image

    width, height = image.size
    image.draft(None, (hw[1], hw[0]))
    decoded = next(part for part in (1, 2, 4, 8) if -(-width // part) == image.width)
    if image.mode not in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr"):
        if image.mode.startswith(("I", "F")):
            return image.convert(image.mode[0]).resize((hw[1], hw[0]), Image.Resampling.BOX)
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    box = (0.0, 0.0, width / decoded, height / decoded)  # what is decoded in part ends with a part of a pixel
    return image.resize((hw[1], hw[0]), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def image_hw(path: Path | str, max_side: int = 16384, upright: bool = True) -> tuple[int, int]:
    """Height and width in pixels of what `read_image` returns, from the file's header.

    Args:
        path: as for `read_image`.
        max_side: as for `read_image`.
        upright: as for `read_image`.

    Raises:
        InputError: as `read_image` raises it.
    """
    path = Path(path)
    with _opened(path, max_side) as image:
        width, height = image.size
        return (width, height) if upright and _orientation(image) >= 5 else (height, width)


def read_exif_fov(path: Path | str) -> float | None:
    """The field of view over the shorter side, from the EXIF tag FocalLengthIn35mmFilm.

    The 35 mm equivalent compares diagonals (CIPA DCG-001): f_px = f_35 * image's diagonal / 43.27 mm.

    Args:
        path: an image.

    Returns:
        Degrees; None where the tag is absent or invalid.

    Raises:
        InputError: as `read_image` raises it.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            focal_mm = float(image.getexif().get_ifd(_EXIF_IFD).get(_EXIF_FOCAL_35MM, 0))
        except Exception:  # a damaged tag is an absent tag
            return None
        if not 1 <= focal_mm <= 10000:
            return None
        width, height = image.size
    focal_px = focal_mm * math.hypot(width, height) / _FILM_DIAGONAL_MM
    return math.degrees(2 * math.atan(min(width, height) / 2 / focal_px))


def write_png(path: Path | str, rgb: ImageLike) -> None:
    """Write an 8-bit PNG. Equal images give equal bytes.

    Args:
        path: the file.
        rgb: sRGB in 0..1 [3, h, w], or what else `geometry.as_image` takes; clamped.

    Raises:
        InputError: as `geometry.as_image` raises it, NaN, Inf and values beyond 0..1 among it.
    """
    path = Path(path)
    write_file(path, encode_png(rgb, f"{path}: image"))


def encode_png(rgb: ImageLike, name: str = "image") -> bytes:
    """What `write_png` writes. Raises InputError as that does, beginning with `name`."""
    from PIL import Image

    rgb = as_image(rgb, name)
    pixels = (rgb.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(data: bytes, where: str) -> Float[torch.Tensor, "3 h w"]:
    """The image that `encode_png` made. Raises InputError, beginning with `where`, for anything else."""
    return _unit_range(_png_pixels(data, "RGB", where))


def decode_texture(data: bytes, where: str, max_side: int = 8192) -> Float[torch.Tensor, "3 h w"]:
    """A PNG or JPEG of any size from 1x1 as sRGB in 0..1, as meshes have them: opacity is dropped.

    Raises InputError, beginning with `where`, for anything else, and for sides above `max_side`, before anything is
    decoded.
    """
    with _decoding(data, ("PNG", "JPEG"), where) as image:
        if max(image.size) > max_side:
            raise InputError(
                f"{where}: image of {image.width}x{image.height}; expected sides of at most {max_side} pixels"
            )
        return _unit_range(np.array(image.convert("RGB")))


def _png_pixels(data: bytes, mode: str, where: str, max_side: int = 16384) -> np.ndarray:
    with _decoding(data, ("PNG",), where) as image:
        if max(image.size) > max_side or not image.mode.startswith(mode):
            raise InputError(f"{where}: image of mode {image.mode}, {image.size}; expected {mode}")
        return np.array(image)


@contextmanager
def _decoding(data: bytes, formats: tuple[str, ...], where: str) -> Iterator["Image.Image"]:
    """The image in some bytes, its header read. Whatever fails in the block is the image's fault."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is the caller's
            with Image.open(io.BytesIO(data), formats=formats) as image:
                yield image
    except InputError:
        raise
    except Exception as error:  # a decoder can raise nearly anything
        raise InputError(f"{where}: damaged image; expected a {' or '.join(formats)}") from error


def _unit_range(pixels: np.ndarray) -> Float[torch.Tensor, "3 h w"]:
    """Pixels [h, w, 3] of 8 bits as sRGB in 0..1."""
    return torch.from_numpy(pixels).movedim(-1, 0).contiguous().float() / 255


def depth_unit(depth: Float[torch.Tensor, "*b"]) -> float:
    """The unit for `write_depth_png`: 0.001 when every finite depth is below 65 m, else the smallest that fits.

    The smallest that fits puts the largest finite depth at 65534, the last number before the one that means sky.

    Args:
        depth: metres, 0 = unknown, inf = sky.

    Returns:
        Metres per unit.
    """
    finite = depth[depth.isfinite()]
    largest = float(finite.max()) if finite.numel() else 0.0
    return 0.001 if largest < 65 else largest / (_SKY - 1)


def write_depth_png(path: Path | str, depth: DepthLike, metres_per_unit: float) -> None:
    """Write depth as a 16-bit PNG: 0 = unknown, 65535 = sky (inf), else depth / metres_per_unit, rounded.

    Known depths below one unit are written as 1. The unit is not stored in the file: keep it beside.

    Args:
        path: the file.
        depth: z in metres [1, h, w], or what else `geometry.as_depth` takes.
        metres_per_unit: more than 0; see `depth_unit`.

    Raises:
        InputError: negative or NaN depth, a unit that is not positive, or a depth beyond 65534 units.
    """
    path = Path(path)
    write_file(path, encode_depth_png(depth, metres_per_unit, f"{path}: "))


def encode_depth_png(depth: DepthLike, metres_per_unit: float, where: str = "") -> bytes:
    """What `write_depth_png` writes, with the same errors."""
    from PIL import Image

    if not (metres_per_unit > 0 and math.isfinite(metres_per_unit)):
        raise InputError(f"{where}{metres_per_unit} metres per unit; expected more than 0")
    values = as_depth(depth, f"{where}depth", double=True).detach().cpu().double()[0]
    units = (values / metres_per_unit).round()
    units = torch.where(values > 0, units.clamp_min(1), units)
    largest = float(units[values.isfinite()].max()) if bool(values.isfinite().any()) else 0.0
    if largest >= _SKY:
        raise InputError(f"{where}depth of {largest:.0f} units of {metres_per_unit} m; expected at most {_SKY - 1}")
    buffer = io.BytesIO()
    Image.fromarray(units.clamp_max(_SKY).numpy().astype(np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_depth_png(data: bytes, metres_per_unit: float, where: str) -> Float[torch.Tensor, "1 h w"]:
    """The depth that `encode_depth_png` was given, to half a unit. Raises InputError, beginning with `where`."""
    return _metres(_png_pixels(data, "I", where), metres_per_unit)


def read_depth_png(path: Path | str, metres_per_unit: float, max_side: int = 16384) -> Float[torch.Tensor, "1 h w"]:
    """Read depth from a 16-bit gray PNG: 0 = unknown, 65535 = sky.

    Args:
        path: the file.
        metres_per_unit: what it was written with.
        max_side: limit of height and width.

    Returns:
        z in metres, float32; 0 = unknown, inf = sky.

    Raises:
        InputError: as `read_image` raises it, an image that is not 16-bit gray, or a unit that is not positive.
    """
    path = Path(path)
    if not (metres_per_unit > 0 and math.isfinite(metres_per_unit)):
        raise InputError(f"{path}: {metres_per_unit} metres per unit; expected more than 0")
    with _opened(path, max_side) as image:
        if not image.mode.startswith("I"):
            raise InputError(f"{path}: image of mode {image.mode}; expected 16-bit gray depth")
        return _metres(np.asarray(image), metres_per_unit)


def _metres(pixels: np.ndarray, metres_per_unit: float) -> Float[torch.Tensor, "1 h w"]:
    units = torch.from_numpy(pixels.astype(np.float64))
    metres = (units * metres_per_unit).float()
    return torch.where(units >= _SKY, torch.full_like(metres, math.inf), metres)[None]
