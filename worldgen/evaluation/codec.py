"""How well a codec keeps pictures and depth, on held-out films of every family."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.clip import Clip
from worldgen.evaluation.image import depth_errors, psnr, ssim
from worldgen.gauge import Gauge, clip_scale
from worldgen.models.codec import Codec
from worldgen.scenes.families import draw
from worldgen.scenes.filming import Shot, views
from worldgen.scenes.render import render
from worldgen.sheets import depth_picture, grid

_SEARCHED = 16  # scenes looked through per film wanted


@dataclass(frozen=True)
class Film:
    """Held-out clips [b, f], each of one camera in the order of time, and what a codec is given of them."""

    clip: Clip
    gauge: Gauge

    @property
    def signals(self) -> dict[str, Tensor]:
        """The films as a codec sees them."""
        return {"rgb": self.clip.rgb, "depth": self.gauge.signal_from_depth(self.clip.depth)}


def held_out_films(family: str, count: int, frames: int, fps: float, size_px: int, seed: int = 0) -> Film:
    """The first `count` held-out scenes of a family whose camera draws a film, 2 x 2 supersampled.

    Raises InputError when there are too few among the first of the series.
    """
    found: list[int] = []
    shot = Shot(frames, fps, (size_px, size_px))
    for index in range(_SEARCHED * count):
        if len(found) == count:
            break
        cameras = views(family, draw(family, seed, [index], True), seed, [index], True, shot)[0]
        if bool((cameras.view == cameras.view[0]).all()) and bool((cameras.time_s.diff() > 0).all()):
            found.append(index)
    if len(found) < count:
        raise InputError(f"{len(found)} films among {_SEARCHED * count} scenes of {family}; expected {count}")
    scene = draw(family, seed, found, True)
    clip = render(scene, views(family, scene, seed, found, True, shot))
    return Film(clip, Gauge.of(clip.cameras, clip_scale(clip)))


def through(codec: Codec, signals: Mapping[str, Float[Tensor, "b f _ h w"]]) -> dict[str, Tensor]:
    """What is left of films after encoding and decoding: rgb in 0..1, depth signal in -1..2."""
    return clipped(codec.decode(codec.encode(signals)))


def clipped(signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """rgb in 0..1, depth signal in -1..2."""
    return {"rgb": signals["rgb"].clamp(0, 1), "depth": signals["depth"].clamp(-1, 2)}


def scores(film: Film, left: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "b"]]:
    """PSNR, SSIM, AbsRel and delta of each film, means over its frames; depth without alignment, up to FAR_M metres."""
    true, rgb = film.clip, left["rgb"]
    wrong, right = depth_errors(film.gauge.depth_from_signal(left["depth"]), true.depth)
    named = {"psnr": psnr(rgb, true.rgb), "ssim": ssim(rgb, true.rgb), "abs_rel": wrong, "delta": right}
    return {name: value.nanmean(-1) for name, value in named.items()}


def codec_sheet(codec: Codec, films: dict[str, Film]) -> Float[Tensor, "3 height width"]:
    """A row a film: its last frame true and reconstructed, the error fourfold about grey, and both depths."""
    rows = []
    for film in films.values():
        left = through(codec, film.signals)
        rgb, depth = left["rgb"], film.gauge.depth_from_signal(left["depth"])
        for i, true in enumerate(film.clip.rgb[:, -1]):
            error = (0.5 + 4 * (rgb[i, -1] - true)).clamp(0, 1)
            near = float(film.gauge.scale[i]) / 3
            pictures = [depth_picture(d[i, -1], near, 20 * near) for d in (film.clip.depth, depth)]
            rows.append([true, rgb[i, -1], error, *pictures])
    return grid(rows)
