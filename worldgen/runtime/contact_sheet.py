"""Contact sheets: many small images as one."""

import base64
import html as markup
import sys

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.io.images import encode_png
from geometry.shapes import Float

_RAMP = ((0.10, 0.09, 0.26), (0.16, 0.37, 0.56), (0.23, 0.64, 0.52), (0.76, 0.79, 0.33), (1.00, 0.96, 0.80))
_THUMBNAIL, _THUMBNAILS = 96, 8  # the longer side of a small frame, and how many stand in a row
_SKY, _UNKNOWN, _PAPER = (0.80, 0.82, 0.86), (0.45, 0.45, 0.45), 1.0


def grid(rows: list[list[Tensor]], enlarge: int = 2, gap: int = 4) -> Float[Tensor, "3 height width"]:
    """Rows of rgb images as one image, on white; shorter rows end in white.

    Args:
        rows: Images [3, h, w] in 0..1, all of one size.
        enlarge: Side of the square that each pixel becomes, in pixels.
        gap: White pixels between images.

    Returns:
        The sheet, on the CPU.

    Raises:
        InputError: Images of different sizes, or none.
    """
    shapes = {tuple(image.shape) for row in rows for image in row}
    if len(shapes) != 1:
        raise InputError(f"a sheet of images of shapes {sorted(shapes)}; expected one shape [3, h, w]")
    _, height, width = shapes.pop()
    down, across = enlarge * height + gap, enlarge * width + gap
    columns = max(len(row) for row in rows)
    sheet = torch.full((3, down * len(rows) - gap, across * columns - gap), _PAPER)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            large = image.detach().cpu().repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
            sheet[:, i * down : i * down + large.shape[-2], j * across : j * across + large.shape[-1]] = large
    return sheet


def depth_image(depth: Float[Tensor, "1 h w"], near: float, far: float) -> Float[Tensor, "3 h w"]:
    """Depth as an image: bright at `near` and dark at `far`, in even steps of inverse depth.

    Args:
        depth: Z-depth in metres. Sky (inf) becomes pale gray, unknown depth (0) dark gray.
        near: Metres.
        far: Metres.

    Returns:
        Colors in 0..1.

    Raises:
        InputError: Unless 0 < near < far.
    """
    if not 0 < near < far:
        raise InputError(f"depth shown from {near} to {far} m; expected 0 < near < far")
    ramp = depth.new_tensor(_RAMP)
    share = ((1 / depth[0].clamp(near, far) - 1 / far) / (1 / near - 1 / far)).clamp(0, 1) * (len(ramp) - 1)
    below = share.floor().long().clamp_max(len(ramp) - 2)
    colors = torch.lerp(ramp[below], ramp[below + 1], (share - below)[..., None])
    colors = torch.where(depth[0].isinf()[..., None], depth.new_tensor(_SKY), colors)
    return torch.where((depth[0] > 0)[..., None], colors, depth.new_tensor(_UNKNOWN)).movedim(-1, 0)


def sheet(rgb: Float[Tensor, "*b 3 h w"], depth: Float[Tensor, "*b 1 h w"], most: int = 16) -> Float[Tensor, "3 y x"]:
    """A few frames of clips, made small, each above its depth where that is known.

    Args:
        rgb: Images.
        depth: Their depth in metres; 0 = unknown, inf = sky.
        most: How many frames are shown, spread over all of them.

    Returns:
        The sheet, on the CPU; one white pixel where there is no frame.
    """
    images, maps = rgb.detach().cpu().flatten(0, -4), depth.detach().cpu().flatten(0, -4)
    if not images.numel():
        return torch.full((3, 1, 1), _PAPER)
    shown = torch.linspace(0, len(images) - 1, min(most, len(images))).round().long()
    images, maps = images[shown].nan_to_num().clamp(0, 1), maps[shown]
    size = tuple(max(1, round(side * min(1.0, _THUMBNAIL / max(images.shape[-2:])))) for side in images.shape[-2:])
    images = torch.nn.functional.interpolate(images, size, mode="area")
    finite = maps[maps.isfinite() & (maps > 0)]
    rows = [list(part) for part in images.split(_THUMBNAILS)]
    if len(finite):
        near = float(finite.min())
        maps = torch.nn.functional.interpolate(maps, size, mode="nearest")
        colored = [depth_image(part, near, max(float(finite.max()), 1.001 * near)) for part in maps]
        rows = [row for i, part in enumerate(rows) for row in (part, colored[i * _THUMBNAILS :][: len(part)])]
    return grid(rows, enlarge=1, gap=2)


def html(text: str, image: Float[Tensor, "3 h w"]) -> str:
    """A text above an image, as a notebook shows it; the image is embedded.

    Args:
        text: Plain text.
        image: In 0..1.

    Returns:
        HTML.
    """
    data = base64.b64encode(encode_png(image)).decode()
    return f'<pre>{markup.escape(text)}</pre><img src="data:image/png;base64,{data}"/>'


def show(image: Float[Tensor, "3 h w"]) -> None:
    """Show an image: in a notebook below the cell, elsewhere in the system's viewer.

    Args:
        image: In 0..1.
    """
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(encode_png(image)))
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        picture.show()
    else:
        sys.modules["IPython"].display.display(picture)
