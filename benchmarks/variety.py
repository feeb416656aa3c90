"""How varied the scenes' images are beside real ones: `python -m benchmarks.variety`.

Of each image, at one size: the slope of its power spectrum (natural images: about -2; Field 1987), contrast, mean
saturation and the spread of hues, the share of edge pixels, and of rendered ones the range of depth.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, missing, publish, reporting_errors
from geometry.errors import InputError
from geometry.io.images import read_image, write_png
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import FAMILIES, draw, views
from worldgen.scenes.rendering.renderer import render

SIZE = 96
NAMES = ("spectrum slope", "contrast", "saturation", "hue entropy", "edge share", "depth range")


def statistics(rgb: Tensor, depth: Tensor | None = None) -> Tensor:
    """The six numbers of each image [n, 3, h, w]; the last is log10 of the 95th over the 5th percentile of depth."""
    gray = rgb.mean(1)
    top, low = rgb.amax(1), rgb.amin(1)
    saturation = (top - low) / top.clamp_min(1e-3)
    edges = (gray[:, 1:, :-1] - gray[:, :-1, :-1]).square() + (gray[:, :-1, 1:] - gray[:, :-1, :-1]).square()
    columns = [
        _slope(gray), gray.flatten(1).std(1), saturation.flatten(1).mean(1), _hue_entropy(rgb, saturation),
        (edges.sqrt() > 0.08).flatten(1).double().mean(1), _depth_range(depth, len(rgb)),
    ]  # fmt: skip
    return torch.stack([column.double() for column in columns], 1)


def _slope(gray: Tensor) -> Tensor:
    """The slope of log power over log frequency, from 3 cycles an image to a quarter of the sampling rate."""
    size = gray.shape[-1]
    window = torch.hann_window(size, periodic=False)
    power = torch.fft.fft2((gray - gray.mean((1, 2), keepdim=True)) * window * window[:, None]).abs().square()
    frequency = torch.fft.fftfreq(size) * size
    radius = (frequency.square() + frequency[:, None].square()).sqrt().round().long()
    rings = torch.arange(3, size // 4)
    mean = torch.stack([power[:, radius == ring].mean(1) for ring in rings], 1).clamp_min(1e-9).log()
    x = rings.double().log() - rings.double().log().mean()
    return (mean.double() * x).sum(1) / x.square().sum()


def _hue_entropy(rgb: Tensor, saturation: Tensor) -> Tensor:
    """Bits of the hues in twelve bins, weighted by saturation: 0 is one hue, 3.6 all alike."""
    r, g, b = rgb.unbind(1)
    hue = torch.atan2(math.sqrt(3) * (g - b), 2 * r - g - b)
    bins = ((hue + math.pi) / (2 * math.pi) * 12).long().clamp(0, 11).flatten(1)
    share = torch.zeros(len(rgb), 12).scatter_add(1, bins, saturation.flatten(1))
    share = share / share.sum(1, keepdim=True).clamp_min(1e-6)
    return -(share * share.clamp_min(1e-9).log2()).sum(1)


def _depth_range(depth: Tensor | None, count: int) -> Tensor:
    if depth is None:
        return torch.full((count,), torch.nan)
    ranges = []
    for image in depth.flatten(1):
        known = image[image.isfinite() & (image > 0)]
        ranges.append(
            (known.quantile(0.95) / known.quantile(0.05)).log10() if len(known) > 20 else torch.tensor(torch.nan)
        )
    return torch.stack(ranges)


def rendered(family: str, count: int, seed: int = 0) -> Tensor:
    """Statistics of `count` images of a family, two of each scene."""
    rows = []
    for start in range(0, count // 2, 8):
        indices = list(range(start, min(start + 8, count // 2)))
        scene = draw(family, seed, indices, True)
        clip = render(scene, views(family, scene, seed, indices, True, ClipSpec(2, 1.0, (SIZE, SIZE))))
        rows.append(statistics(clip.rgb.flatten(0, 1), clip.depth.flatten(0, 1)))
    return torch.cat(rows)


def real(folder: Path) -> tuple[Tensor, int]:
    """Statistics of all images below a folder, their middle square made small; and how many there are."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    images = []
    for path in paths:
        if any(part in ("masks", "depth") for part in path.parts) or "disparity" in path.name or "cutout" in path.name:
            continue
        try:
            image = read_image(path)
        except InputError as error:
            print(missing(str(path), error), file=sys.stderr)
            continue
        side = min(image.shape[1:])
        top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
        square = image[None, :3, top : top + side, left : left + side]
        if side >= SIZE:
            images.append(F.interpolate(square, (SIZE, SIZE), mode="area"))
    if not images:
        raise InputError(f"{folder} holds no images of {SIZE} px and more; expected JPEG or PNG files")
    return statistics(torch.cat(images)), len(images)


def table(groups: dict[str, Tensor]) -> Table:
    """Median and, in brackets, the 10th and 90th percentile of each number, a row a group."""
    rows = []
    for name, images in groups.items():
        cells: list[dict[str, float] | None] = []
        for column in images.T:
            finite = column[column.isfinite()]
            if len(finite):
                low, middle, high = finite.quantile(torch.tensor([0.1, 0.5, 0.9]).double()).tolist()
                cells.append({"mean": middle, "low": low, "high": high})
            else:
                cells.append(None)
        rows.append((name, len(images), *cells))
    return Table.of({"images": "", "n": ""} | dict.fromkeys(NAMES, ".2f"), rows)


def plot(groups: dict[str, Tensor], path: Path) -> None:
    """The distributions as strips: a block a number, a row a group, darker where there are more images."""
    bins, tall, gap = 120, 10, 6
    blocks = []
    for n in range(len(NAMES)):
        column = torch.cat([rows[:, n] for rows in groups.values()])
        column = column[column.isfinite()]
        low, high = column.quantile(0.005), column.quantile(0.995)
        strips = []
        for rows in groups.values():
            values = rows[:, n][rows[:, n].isfinite()]
            counts = (
                torch.histc(((values - low) / (high - low)).float(), bins, 0, 1) if len(values) else torch.zeros(bins)
            )
            counts = F.avg_pool1d(F.pad(counts[None, None], (2, 2)), 5, 1)[0, 0]
            share = counts / counts.max().clamp_min(1e-6)
            strips.append((1 - 0.9 * share).expand(tall, -1))
            strips.append(torch.ones(2, bins))
        blocks.append(torch.cat([*strips, torch.ones(gap, bins)]))
    half = -(-len(blocks) // 2)
    columns = [torch.cat(blocks[:half]), torch.cat(blocks[half:])]
    image = torch.cat([columns[0], torch.ones(len(columns[0]), gap), columns[1]], 1)
    large = image.repeat_interleave(3, 0).repeat_interleave(3, 1)
    write_png(path, _labeled(large, 3 * bins + 3 * gap, 3 * len(blocks[0]), list(groups)).expand(3, -1, -1))


def _labeled(image: Tensor, across: int, down: int, names: list[str]) -> Tensor:
    """The image [h, w] with the number's name over each block and the groups' names on the left."""
    import numpy as np
    from PIL import Image, ImageDraw

    left, top = 90, 14
    canvas = Image.new("L", (image.shape[1] + left, image.shape[0] + top), 255)
    canvas.paste(Image.fromarray((255 * image).round().byte().numpy()), (left, top))
    draw = ImageDraw.Draw(canvas)
    half = -(-len(NAMES) // 2)
    for n, name in enumerate(NAMES):
        draw.text((left + (n // half) * across, (n % half) * down + (0 if n % half == 0 else top - 14)), name, 0)
    for block in range(half):
        for row, name in enumerate(names):
            draw.text((2, top + block * down + 36 * row + 8), name, 0)
    return torch.from_numpy(np.array(canvas)).float() / 255


@reporting_errors
def main() -> int:
    """Publish the table, and write the plot on request."""
    parser = command(__doc__)
    parser.add_argument("--real", type=Path, help="a folder of real images to set beside the rendered ones")
    parser.add_argument("--count", type=int, default=1000, help="images rendered in all (default 1000)")
    parser.add_argument("--plot", type=Path, help="write the distributions as a PNG, rows as in the table")
    arguments = parser.parse_args()
    groups = {name: rendered(name, arguments.count // len(FAMILIES)) for name in FAMILIES}
    groups["all rendered"] = torch.cat(list(groups.values()))
    if arguments.real:
        groups["real"], _ = real(arguments.real)
    if arguments.plot:
        plot(groups, arguments.plot)
    notes = [f"Images of {SIZE} px: median and, in brackets, the 10th and 90th percentile over images."]
    return publish(Report.now("How varied the scenes are", [table(groups)], notes), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
