"""What codecs keep of held-out videos of every family: `python -m benchmarks.codec runs/vae/codec`.

Beside it, at the same number of stored numbers or a few more: the principal components of 8 x 8 patches of training
scenes (with frames in groups: of the group's patches), the best linear codec of such patches, and bicubic images.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.shared.report import Report, Table, command, publish
from geometry.io.images import write_png
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.evaluation.codec import Video, clipped, codec_sheet, held_out_videos, reconstructed, scores
from worldgen.evaluation.metrics.intervals import paired_difference
from worldgen.models.codec.files import load_codec
from worldgen.models.codec.principal_components import Method, patch_components
from worldgen.models.codec.vae import ConvVAE
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import FAMILIES, draw, views
from worldgen.scenes.rendering.renderer import render

_COLUMNS = {  # title and format
    "psnr": ("PSNR dB", ".2f"), "ssim": ("SSIM", ".4f"), "abs_rel": ("AbsRel", ".4f"), "delta": ("δ < 1.25", ".4f"),
}  # fmt: skip


def bicubic(codec: ConvVAE) -> Method:
    """Images made small with antialiasing and large again; each as many numbers as the codec stores, or a few more.

    A group's numbers are shared evenly among its frames.
    """
    sizes = codec.modalities()

    def one(video: Tensor, latents: int, low: float, high: float) -> Tensor:
        _frames, channels, height, width = video.shape[1:]
        small = []
        for n, frame in enumerate(video.unbind(1)):
            numbers = latents / (1 if n == 0 else codec.group) / channels / codec.block**2
            side = [math.ceil(size * math.sqrt(numbers)) for size in (height, width)]
            down = F.interpolate(frame, side, mode="bicubic", antialias=True)
            small.append(F.interpolate(down, (height, width), mode="bicubic").clamp(low, high))
        return torch.stack(small, 1)

    ranges = {"rgb": (0.0, 1.0), "depth": (-1.0, 2.0)}
    return lambda signals: {name: one(signals[name], sizes[name], *limits) for name, limits in ranges.items()}


def training_videos(family: str, count: int, frames: int, fps: float, size_px: int) -> Video:
    """Scenes of the training series, recorded as the held-out ones are."""
    numbers = list(range(count))
    scene = draw(family, 0, numbers, False)
    clip = render(scene, views(family, scene, 0, numbers, False, ClipSpec(frames, fps, (size_px, size_px))))
    return Video(clip, Normalization.of(clip.cameras, scene_scale(clip)))


@torch.no_grad()
def measure(methods: dict[str, Method], videos: dict[str, Video]) -> dict[str, dict[str, dict[str, Tensor]]]:
    """The scores [scenes] of each method on each family, by family, method and figure."""
    return {
        family: {name: scores(video, method(video.signals)) for name, method in methods.items()}
        for family, video in videos.items()
    }


def table(results: dict[str, dict[str, dict[str, Tensor]]]) -> Table:
    """Means over scenes, and the first method's gain in PSNR over each other with its 95% bootstrap interval."""
    columns = {"scenes": "", "codec": ""} | dict(_COLUMNS.values()) | {"codec's gain dB": "+.2f"}
    together = {
        method: {key: torch.cat([of[method][key] for of in results.values()]) for key in _COLUMNS}
        for method in next(iter(results.values()))
    }
    rows = []
    for family, of in {**results, "all": together}.items():
        ours = next(iter(of.values()))["psnr"]
        for name, figures in of.items():
            gain = None if figures["psnr"] is ours else paired_difference(ours, figures["psnr"])
            rows.append((family, name, *(float(figures[key].nanmean()) for key in _COLUMNS), gain))
    return Table.of(columns, rows)


@torch.no_grad()
def tiling(codec: ConvVAE, size_px: int = 256, tile: int = 16) -> Table:
    """The largest error in rgb of decoding in tiles, and its CPU time over decoding at once, by halo; of noise."""
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(1, 1, 3, size_px, size_px, generator=generator)
    latent = codec.encode({"rgb": rgb, "depth": 3 * rgb[:, :, :1] - 1})

    def timed(decode: Callable[[], dict[str, Tensor]]) -> tuple[Tensor, float]:
        decode()
        began = time.process_time()
        return decode()["rgb"], time.process_time() - began

    whole, at_once = timed(lambda: codec.decode(latent))
    rows = []
    for halo in range(codec.halo + 1):
        tiled, took = timed(lambda halo=halo: codec.decode_tiled(latent, tile, halo=halo))
        rows.append((halo, float((tiled - whole).abs().max()), took / at_once))
    return Table.of({"halo": "", "largest error": ".1g", "time, share of at once": ".1f"}, rows)


def comparison(codec: ConvVAE, training: int, videos: dict[str, Video], video: tuple[int, float, int]) -> Report:
    """The codec, principal components of training scenes, and bicubic images, on held-out videos."""
    linear = patch_components(codec, [training_videos(name, training, *video).signals for name in videos])
    methods: dict[str, Method] = {
        "ConvVAE": lambda signals: reconstructed(codec, signals),
        "principal components": lambda signals: clipped(linear(signals)),
        "bicubic": bicubic(codec),
    }
    began = time.process_time()
    results = measure(methods, videos)
    seconds = time.process_time() - began
    floor = {name: float(scores(held, held.signals)["abs_rel"].nanmean()) for name, held in videos.items()}
    notes = [
        f"{codec.modalities()} latents per {codec.block}x{codec.block} pixels, {codec.group} frames a latent frame.",
        "AbsRel of the depth signal itself, which ends at a third of the scene scale, without any codec: "
        + ", ".join(f"{name} {value:.4f}" for name, value in floor.items()) + ".",
        f"{seconds:.1f} s of CPU for all methods.",
    ]  # fmt: skip
    return Report.now("A codec on held-out videos", [table(results)], notes)


def main() -> int:
    """Publish the table; write a sheet on request."""
    parser = command(__doc__)
    parser.add_argument("codec", help="name of an embedded codec, or a folder")
    parser.add_argument("--scenes", type=int, default=32, help="held-out videos of each family (default 32)")
    parser.add_argument("--training", type=int, default=64, help="training scenes of each family for the components")
    parser.add_argument("--frames", type=int, default=9, help="frames of a video (default 9)")
    parser.add_argument("--fps", type=float, default=8.0, help="frames a second (default 8)")
    parser.add_argument("--size-px", type=int, default=64, help="side of the images (default 64)")
    parser.add_argument("--sheet", type=Path, help="write images before and after as a PNG")
    parser.add_argument("--tiling", action="store_true", help="measure tiled decoding instead")
    a = parser.parse_args()
    codec = load_codec(a.codec)
    if a.tiling:
        return publish(Report.now("Decoding in tiles", [tiling(codec)], ["Of noise."]), a.report)
    video = (a.frames, a.fps, a.size_px)
    videos = {name: held_out_videos(name, a.scenes, *video) for name in FAMILIES}
    report = comparison(codec, a.training, videos, video)
    if a.sheet:
        two = {name: Video(held.clip[:2], held.normalization[:2]) for name, held in videos.items()}
        write_png(a.sheet, codec_sheet(codec, two))
    return publish(report, a.report)


if __name__ == "__main__":
    sys.exit(main())
