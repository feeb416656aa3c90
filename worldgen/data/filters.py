"""Filters: which images of a capture make clips, and why the others do not."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geometry.io.captures.posed import PosedImage
from worldgen.data.captures import read_images
from worldgen.data.limits import Limits
from worldgen.data.measures import SIDE_PX, ImageMeasures, PairMeasures


@dataclass(frozen=True)
class FilteredImage:
    """One image, kept or dropped.

    clip    number of the (first) clip of the capture it is in, None when dropped
    reason  why it was dropped: a few words, then what was measured and the limit
    """

    name: str
    clip: int | None
    reason: str
    blur: float
    brightness: float
    contrast: float


@dataclass(frozen=True)
class FilteredCapture:
    """A capture's images, and the clips that they make.

    images  in order, neighbors in time or by name
    clips   for each clip the places of its images in that order
    steps   measures between neighbors, of the images that pass on their own
    """

    images: tuple[FilteredImage, ...]
    clips: tuple[tuple[int, ...], ...]
    steps: tuple[PairMeasures, ...]


def ordered(images: Sequence[PosedImage], every: int = 1) -> list[PosedImage]:
    """Images by time and camera where times are known, else by name; every n-th of each camera."""
    if len({image.time_s for image in images}) > 1:
        by_time = sorted(images, key=lambda p: (p.time_s, p.view, p.file_path))
    else:
        by_time = sorted(images, key=lambda p: [int(s) if s.isdigit() else s for s in _parts(p.file_path)])
    seen: dict[int, int] = {}
    chosen = []
    for image in by_time:
        place = seen.get(image.view, 0)
        seen[image.view] = place + 1
        if place % every == 0:
            chosen.append(image)
    return chosen


def _parts(name: str) -> list[str]:
    """A name split into digits and the rest, so that 10 comes after 9."""
    return ["".join(run) for _, run in itertools.groupby(name, str.isdigit)] + [""]


def filter_capture(images: Sequence[PosedImage], frames: int, limits: Limits) -> FilteredCapture:
    """Filter the ordered images of one capture, and cut those that are left into clips of `frames` frames.

    First each image alone: blur, brightness, contrast. Then neighbors: features they share must agree with the given
    cameras, and video frames must not jump; between neighbors that do not agree the capture is cut in two. Runs of
    enough images become clips one after another, of which the last one ends with the run. Raises InputError for images
    that cannot be read.
    """
    enough = [image.shrunk(2 * SIDE_PX) for image in images]
    measured = [ImageMeasures.of(*image.flattened(rgb)[:2]) for image, rgb in zip(enough, read_images(enough))]
    reasons = [_image_fault(image, limits) for image in measured]
    good = [n for n, reason in enumerate(reasons) if not reason]
    pairs = list(itertools.pairwise(good))
    steps = [PairMeasures.between(measured[a], measured[b]) for a, b in pairs]
    baselines = [s.baseline for (a, b), s in zip(pairs, steps) if _video(images[a], images[b]) and s.baseline]
    typical = statistics.median(baselines) if baselines else 0.0
    breaks = [_pair_fault(step, _video(images[a], images[b]), typical, limits) for (a, b), step in zip(pairs, steps)]
    clips: list[tuple[int, ...]] = []
    for places, why in _runs(good, breaks):
        if len(places) < frames:
            for n in places:
                reasons[n] = why or f"{len(places)} images left together; {frames} make a clip"
            continue
        for start in sorted({*range(0, len(places) - frames + 1, frames), len(places) - frames}):
            clip = places[start : start + frames]
            motions = [step.motion for (a, b), step in zip(pairs, steps) if a in clip and b in clip]
            moved = sum(motion for motion in motions if motion is not None)
            if None not in motions and moved < limits.min_motion and len({images[n].view for n in clip}) == 1:
                for n in clip:
                    reasons[n] = f"nothing moves: {moved:.4f} of the side over the clip; expected {limits.min_motion:g}"
            else:
                clips.append(tuple(clip))
    first = {n: number for number, clip in reversed(list(enumerate(clips))) for n in clip}
    filtered = tuple(
        FilteredImage(p.file_path, first.get(n), "" if n in first else reasons[n], m.blur, m.brightness, m.contrast)
        for n, (p, m) in enumerate(zip(images, measured))
    )
    return FilteredCapture(filtered, tuple(clips), tuple(steps))


def _video(a: PosedImage, b: PosedImage) -> bool:
    """Whether two neighbors are frames of one running camera."""
    return a.view == b.view and 0 < b.time_s - a.time_s <= 1


def _image_fault(image: ImageMeasures, limits: Limits) -> str:
    """Why an image is dropped by itself; empty when it is not."""
    if image.contrast < limits.min_contrast:
        return f"flat: contrast {image.contrast:.3f}; expected {limits.min_contrast:g}"
    if image.brightness < limits.min_brightness:
        return f"dark: brightness {image.brightness:.3f}; expected {limits.min_brightness:g}"
    if image.brightness > limits.max_brightness:
        return f"bright: brightness {image.brightness:.3f}; expected at most {limits.max_brightness:g}"
    if image.blur > limits.max_blur:
        return f"blurred: {image.blur:.2f}; expected at most {limits.max_blur:g}"
    return ""


def _pair_fault(step: PairMeasures, video: bool, typical: float, limits: Limits) -> str:
    """Why two neighbors do not belong in one clip; empty when they do."""
    if video and step.motion is None and step.likeness < limits.min_likeness:
        return f"cut: likeness {step.likeness:.2f}, {step.matches} matches; expected {limits.min_likeness:g}"
    if step.residual_px is not None and step.residual_px > limits.max_residual_px:
        return f"poses: features {step.residual_px:.1f} px off; expected at most {limits.max_residual_px:g}"
    if video and typical > 0 and step.baseline > limits.max_jump * typical:
        return f"jump: {step.baseline / typical:.0f} times the usual way; expected at most {limits.max_jump:g}"
    if video and step.motion is not None and step.motion > limits.max_motion:
        return f"fast: features move {step.motion:.2f} of the side; expected at most {limits.max_motion:g}"
    return ""


def _runs(good: Sequence[int], breaks: Sequence[str]) -> Iterable[tuple[list[int], str]]:
    """Runs of good images without a break between neighbors, each with the reason for its end, or else for its
    beginning."""
    places, began = [], ""
    for n, why in itertools.zip_longest(good, breaks, fillvalue=""):
        if isinstance(n, int):
            places.append(n)
        if why:
            yield places, why
            places, began = [], why
    if places:
        yield places, began
