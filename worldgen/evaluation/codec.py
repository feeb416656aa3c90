"""How well a codec keeps images and depth, on held-out videos of every family."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.models.codec.protocol import Codec
from worldgen.runtime.contact_sheet import depth_image, grid
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import draw, views
from worldgen.scenes.rendering.renderer import render

_SEARCHED = 16  # scenes searched per video wanted


@as_value
@dataclass(frozen=True)
class Video:
    """Held-out clips [b, f], each of one camera in the order of time, and their normalization."""

    clip: Clip
    normalization: Normalization

    @property
    def signals(self) -> dict[str, Tensor]:
        """The input of a codec: rgb in 0..1, depth signal in -1..2."""
        return {"rgb": self.clip.rgb, "depth": self.normalization.signal_from_depth(self.clip.depth)}


def held_out_videos(family: str, count: int, frames: int, fps: float, size_px: int, seed: int = 0) -> Video:
    """The first `count` held-out scenes of a family that one camera records in the order of time, 2 x 2 supersampled.

    Raises InputError when there are too few among the first of the series.
    """
    found: list[int] = []
    shot = ClipSpec(frames, fps, (size_px, size_px))
    for index in range(_SEARCHED * count):
        if len(found) == count:
            break
        cameras = views(family, draw(family, seed, [index], True), seed, [index], True, shot)[0]
        if bool((cameras.view == cameras.view[0]).all()) and bool((cameras.time_s.diff() > 0).all()):
            found.append(index)
    if len(found) < count:
        raise InputError(f"{len(found)} videos among {_SEARCHED * count} scenes of {family}; expected {count}")
    scene = draw(family, seed, found, True)
    clip = render(scene, views(family, scene, seed, found, True, shot))
    return Video(clip, Normalization.of(clip.cameras, scene_scale(clip)))


def reconstructed(codec: Codec, signals: Mapping[str, Float[Tensor, "b f _ h w"]]) -> dict[str, Tensor]:
    """Videos encoded and decoded: rgb in 0..1, depth signal in -1..2."""
    return clipped(codec.decode(codec.encode(signals)))


def clipped(signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """rgb in 0..1, depth signal in -1..2."""
    return {"rgb": signals["rgb"].clamp(0, 1), "depth": signals["depth"].clamp(-1, 2)}


def scores(video: Video, decoded: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "b"]]:
    """PSNR, SSIM, AbsRel and delta of each video, means over its frames; depth without alignment, up to FAR_M
    metres."""
    true, rgb = video.clip, decoded["rgb"]
    abs_rel, delta = depth_errors(video.normalization.depth_from_signal(decoded["depth"]), true.depth)
    named = {"psnr": psnr(rgb, true.rgb), "ssim": ssim(rgb, true.rgb), "abs_rel": abs_rel, "delta": delta}
    return {name: value.nanmean(-1) for name, value in named.items()}


def codec_sheet(codec: Codec, videos: dict[str, Video]) -> Float[Tensor, "3 height width"]:
    """A row a video: its last frame true and reconstructed, four times the error about gray, and both depths."""
    rows = []
    for video in videos.values():
        decoded = reconstructed(codec, video.signals)
        rgb, depth = decoded["rgb"], video.normalization.depth_from_signal(decoded["depth"])
        for i, true in enumerate(video.clip.rgb[:, -1]):
            error = (0.5 + 4 * (rgb[i, -1] - true)).clamp(0, 1)
            near = float(video.normalization.scale[i]) / 3
            images = [depth_image(d[i, -1], near, 20 * near) for d in (video.clip.depth, depth)]
            rows.append([true, rgb[i, -1], error, *images])
    return grid(rows)
