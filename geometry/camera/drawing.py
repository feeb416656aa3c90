"""Cameras and their path as a drawing, from above and from the side."""

import math

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions
from geometry.errors import InputError
from geometry.shapes import Float

_PAPER, _GRID, _INK = (255, 255, 255), (225, 225, 225), (60, 60, 60)
_MARGIN, _FRUSTA = 40, 24


def draw_cameras(
    cameras: Cameras, points: Float[torch.Tensor, "n 3"] | None = None, side_px: int = 480
) -> Float[torch.Tensor, "3 h w"]:
    """A drawing of cameras from above (x to the right, y up) and, beside it at the same scale, from the side (z up).

    The side view has the horizontal direction in which the path extends most to its right. A line shows the path, from
    blue (first) to red (last), with the viewing pyramids of at most 24 cameras, over a grid with its step in metres.

    Args:
        cameras: Cameras of any batch shape, in their order.
        points: Points of the scene [n, 3] in metres, drawn in gray.
        side_px: Height of the drawing in pixels, half of its width.

    Returns:
        The drawing [3, side_px, 2 * side_px], sRGB in 0..1.

    Raises:
        InputError: If there are no cameras, or one has NaN or Inf.
    """
    flat = cameras.reshape(-1).to(torch.float64).to("cpu")
    if len(flat) == 0 or not bool(flat.world_from_camera.isfinite().all()) or not bool(flat.K.isfinite().all()):
        raise InputError(f"{len(flat)} cameras to draw; expected at least one, all of finite numbers")
    from PIL import Image, ImageDraw

    centers = flat.centers
    around = centers if points is None else torch.cat([centers, points.detach().to(centers)])
    extent = float((around.amax(0) - around.amin(0)).max())
    size = (0.08 if len(flat) > 1 else 0.3) * max(extent, 1e-6) if extent > 0 else 1.0
    corners = _pyramids(flat, size)
    around = torch.cat([around, corners.flatten(0, 1)])
    views = _views(centers)
    reach = max(float((around @ axes.T).amax(0).sub((around @ axes.T).amin(0)).max()) for _, axes in views)
    scale = (side_px - 2 * _MARGIN) / max(reach, 1e-9)
    paper = Image.new("RGB", (2 * side_px, side_px), _PAPER)
    pen = ImageDraw.Draw(paper)
    for number, (title, axes) in enumerate(views):
        flat_points = around @ axes.T
        middle = (flat_points.amax(0) + flat_points.amin(0)) / 2
        left = number * side_px

        def place(p: torch.Tensor, axes: torch.Tensor = axes, middle: torch.Tensor = middle, left: int = left) -> list:
            uv = (p @ axes.T - middle) * scale
            return [(left + side_px / 2 + float(u), side_px / 2 - float(v)) for u, v in uv.reshape(-1, 2)]

        step = _grid(pen, left, side_px, middle, scale)
        if points is not None:
            pen.point(place(points.detach().to(centers)), fill=(150, 150, 150))
        _path(pen, place, flat, corners)
        pen.text((left + 8, 6), f"{title}, a square is {step:g} m", fill=_INK)
    pen.line([(side_px, 0), (side_px, side_px)], fill=_INK)
    data = torch.frombuffer(bytearray(paper.tobytes()), dtype=torch.uint8).view(side_px, 2 * side_px, 3)
    return data.permute(2, 0, 1).float() / 255


def _views(centers: torch.Tensor) -> tuple[tuple[str, torch.Tensor], ...]:
    """The title of each part of the drawing, and the world directions [2, 3] that point right and up in it."""
    spread = (centers - centers.mean(0))[:, :2]
    heading = torch.linalg.svd(spread).Vh[0] if float(spread.abs().max()) > 0 else torch.tensor([1.0, 0.0]).double()
    heading = heading * torch.sign(heading[heading.abs().argmax()])
    return (
        ("from above", torch.tensor([[1.0, 0, 0], [0, 1, 0]]).double()),
        ("from the side", torch.tensor([[float(heading[0]), float(heading[1]), 0], [0, 0, 1.0]]).double()),
    )


def _pyramids(cameras: Cameras, size: float) -> torch.Tensor:
    """The corners [n, 4, 3] of each camera's viewing pyramid at a distance, in order round the image."""
    height, width = cameras.hw
    uv = torch.tensor([[[0, 0], [width, 0]], [[width, height], [0, height]]], dtype=torch.float64)
    ray = camera_directions(cameras, uv).flatten(-3, -2)
    ray = size * ray / ray.norm(dim=-1, keepdim=True).amax(1, keepdim=True)
    return ray @ cameras.world_from_camera[:, :3, :3].transpose(-1, -2) + cameras.centers[:, None]


def _grid(pen: "object", left: int, side: int, middle: torch.Tensor, scale: float) -> float:
    """Draws lines at round numbers of metres; returns their step."""
    rough = 60 / scale
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    half = side / 2 / scale
    for axis in (0, 1):
        first = math.ceil((float(middle[axis]) - half) / step)
        last = math.floor((float(middle[axis]) + half) / step)
        for n in range(first, last + 1):
            at = (n * step - float(middle[axis])) * scale
            x = left + side / 2 + at
            line = [(x, 0), (x, side)] if axis == 0 else [(left, side / 2 - at), (left + side - 1, side / 2 - at)]
            pen.line(line, fill=_GRID if n else (190, 190, 190))  # type: ignore[attr-defined]
    return step


def _path(pen: "object", place: "object", cameras: Cameras, corners: torch.Tensor) -> None:
    """Draws the line of the centers, and some of the pyramids, from blue to red."""
    count = len(cameras)
    at = place(cameras.centers)  # type: ignore[operator]
    for n in range(count - 1):
        pen.line([at[n], at[n + 1]], fill=_color(n / (count - 1)), width=2)  # type: ignore[attr-defined]
    shown = sorted({round(i * (count - 1) / max(min(count, _FRUSTA) - 1, 1)) for i in range(min(count, _FRUSTA))})
    for n in shown:
        ink, ends = _color(n / max(count - 1, 1)), place(corners[n])  # type: ignore[operator]
        for end in ends:
            pen.line([at[n], end], fill=ink)  # type: ignore[attr-defined]
        pen.line([*ends, ends[0]], fill=ink)  # type: ignore[attr-defined]
        # The image's top edge is thick: which way is up.
        pen.line(ends[:2], fill=ink, width=3)  # type: ignore[attr-defined]


def _color(share: float) -> tuple[int, int, int]:
    return round(40 + 190 * share), 70, round(220 - 180 * share)
