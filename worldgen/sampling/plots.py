"""Matrices of levels as images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float

_KNOWN, _MIDDLE, _UNKNOWN, _PAPER = (0.97, 0.95, 0.88), (0.36, 0.62, 0.68), (0.11, 0.14, 0.27), 1.0


def draw_levels(
    matrix: Float[Tensor, "r f m"], modalities: Sequence[str] | None = None, across: int = 480, line: int = 10
) -> Float[Tensor, "3 h w"]:
    """Rows of the matrix from left to right, a line a frame, a block a modality with its name above.

    across  width of the blocks in pixels, about; line  height of a frame
    """
    rows, _, count = matrix.shape
    names = list(modalities) if modalities is not None else [f"modality {m}" for m in range(count)]
    if len(names) != count:
        raise InputError(f"names {names} for {count} modalities; expected one each")
    palette = matrix.new_tensor([_KNOWN, _MIDDLE, _UNKNOWN])
    place = 2 * matrix.detach().cpu().clamp(0, 1)
    below = place.floor().long().clamp_max(1)
    color = torch.lerp(palette[below], palette[below + 1], (place - below)[..., None]).permute(3, 2, 1, 0)
    wide = max(1, across // rows)
    blocks = []
    for name, block in zip(names, color.unbind(1)):
        large = block.repeat_interleave(line, 1).repeat_interleave(wide, 2)
        large[:, line - 1 :: line] = _PAPER
        blocks += [_label(name, large.shape[2]), large]
    return torch.cat(blocks, 1).float()


def _label(text: str, width: int) -> Tensor:
    import numpy as np
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (width, 14), 255)
    ImageDraw.Draw(canvas).text((1, 1), text, 0)
    return (torch.from_numpy(np.array(canvas)).float() / 255).expand(3, -1, -1)
