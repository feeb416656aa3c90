"""Contact sheets: many small images as one."""

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float

_RAMP = ((0.10, 0.09, 0.26), (0.16, 0.37, 0.56), (0.23, 0.64, 0.52), (0.76, 0.79, 0.33), (1.00, 0.96, 0.80))
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
