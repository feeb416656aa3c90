"""`worldgen curate`: from captures to shards of good clips, with a report of what was dropped; resumable."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.framing import DETAIL, square
from geometry.io.captures.posed import PosedImage, PosedImages, near_origin
from geometry.io.files import read_json, write_file
from worldgen.core.clip import Clip
from worldgen.data.camera_verbs import camera_verb
from worldgen.data.captures import Capture, find_captures, read_images
from worldgen.data.curation_report import write_curation_report
from worldgen.data.filters import FilteredCapture, filter_capture, ordered
from worldgen.data.limits import Curation
from worldgen.data.shards import Sample, write_index, write_shard
from worldgen.runtime.atomic_dir import resumable_folder
from worldgen.runtime.config import plain
from worldgen.runtime.progress import Report, shown

CURATION = "curation.json"  # by which the folder of a curation is known: its arguments


def curate(
    sources: Sequence[Path],
    output: Path,
    curation: Curation | None = None,
    progress: bool | Report = False,
) -> dict[str, Any]:
    """Filter every capture in some files and folders and write the good clips as shards.

    clips-00000.tar ...     the clips (`worldgen.data.shards`), and index.json
    report.md, report.json  what was kept and dropped, and why, image by image
    kept.png, dropped.png   some of each

    An interrupted run resumes when called again with the same arguments. Captures that cannot be read are dropped, with
    the reason.

    Args:
        sources: Files and folders (`find_captures`).
        output: New folder, or that of an interrupted run.
        curation: How captures become clips; default `Curation()`.
        progress: Whether to show it on stderr, or a function that is called with the share of the captures that are
            done, and which is next.

    Returns:
        What report.json holds.

    Raises:
        InputError: No captures, two of one name, or a folder that holds something else.
    """
    curation = curation or Curation()
    found = partial(find_captures, skip_missing=curation.skip_missing)
    captures = list({(c.kind, c.path, c.name): c for source in sources for c in found(source)}.values())
    names = [capture.name for capture in captures]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two captures named {repeated[0]}; expected sources whose folders have different names")
    with resumable_folder(output, lambda folder: (folder / CURATION).is_file(), sources):
        _agree(output, {"sources": [str(source) for source in sources], "curation": plain(curation)})
        with shown(progress) as report:
            return _curated(captures, output, curation, report)


def _curated(captures: Sequence[Capture], output: Path, curation: Curation, report: Report) -> dict[str, Any]:
    def next_is(n: int) -> None:
        report(n / len(captures), f"capture {n + 1}/{len(captures)}" if n < len(captures) else "report")

    size = curation.captures_per_shard
    records: list[dict[str, Any]] = []
    for number, start in enumerate(range(0, len(captures), size)):
        done = output / f"clips-{number:05d}.json"
        if not done.is_file():
            group = captures[start : start + size]
            made = _shard(done, group, curation, lambda n, start=start: next_is(start + n))
            write_file(done, json.dumps(made).encode())
        records += read_json(done, "the record of a shard", 2**31)
        next_is(min(start + size, len(captures)))
    if list(output.glob("*.tar")):
        write_index(output)
    return write_curation_report(output, captures, records, plain(curation))


def _agree(output: Path, arguments: dict[str, Any]) -> None:
    """Keep the arguments in the folder, or check that a run with the same arguments has made it."""
    kept = output / CURATION
    if not kept.is_file():
        write_file(kept, json.dumps(arguments, indent=1).encode())
    elif (before := read_json(kept, "the arguments of a curation")) != arguments:
        keys = [key for key in arguments if not isinstance(before, dict) or before.get(key) != arguments[key]]
        raise InputError(f"{output}: made with other {' and '.join(keys)}; expected the same, or a new folder")


def _shard(
    done: Path, captures: Sequence[Capture], curation: Curation, on_capture: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Filter some captures and write their clips into the tar beside `done`; returns a record of each."""
    records: list[dict[str, Any]] = []

    def samples() -> Iterator[Sample]:
        for n, capture in enumerate(captures):
            on_capture(n)
            yield from _samples(capture, curation, records)

    tar = done.with_suffix(".tar")
    if not write_shard(tar, samples()):
        tar.unlink()
    return records


def _samples(capture: Capture, curation: Curation, records: list[dict[str, Any]]) -> Iterator[Sample]:
    """The good clips of a capture; adds its record to `records`."""
    record: dict[str, Any] = {"name": capture.name, "kind": capture.kind, "path": str(capture.path)}
    record |= {"images": [], "steps": [], "clips": []}
    records.append(record)
    try:
        images = capture.read()
        chosen = ordered(images.frames, curation.every)
        filtered = filter_capture(chosen, curation.frames, curation.limits)
        record["steps"] = [asdict(step) for step in filtered.steps]
        for number in range(len(filtered.clips)):
            sample = _sample(capture, images, chosen, filtered, number, curation)
            record["clips"].append({"key": sample.key, "caption": sample.caption, "names": list(sample.names)})
            yield sample
        record["images"] = [asdict(image) for image in filtered.images]
    except InputError as error:
        record["unreadable"] = str(error)


def _sample(
    capture: Capture, images: PosedImages, chosen: list[PosedImage], filtered: FilteredCapture, number: int,
    curation: Curation,
) -> Sample:  # fmt: skip
    frames = [chosen[n] for n in filtered.clips[number]]
    clip = squared_clip(frames, curation.fit, curation.size_px)
    caption = ", ".join(part for part in (images.caption.strip().rstrip("."), camera_verb(clip.cameras)) if part)
    names = tuple(frame.file_path for frame in frames)
    return Sample(f"{capture.name}-{number:04d}", clip, caption, f"{capture.kind}: {capture.path.name}", names)


def squared_clip(frames: Sequence[PosedImage], fit: str, size_px: int) -> Clip:
    """Images as a clip [f] of one size, with the depth they have, and times relative to the first image's (float32
    cannot hold seconds since 1970). Raises InputError for images that cannot be read."""
    rgb, depth, cameras = [], [], []
    frames, _ = near_origin([frame.shrunk(DETAIL * size_px) for frame in frames])
    for image, stored in zip(frames, read_images(list(frames))):
        image = replace(image, time_s=image.time_s - frames[0].time_s)
        small, camera = square(*image.flattened(stored)[:2], fit, size_px)
        rgb.append(small)
        depth.append(image.read_depth(camera))
        cameras.append(camera[None])
    return Clip(torch.stack(rgb), torch.stack(depth), Cameras.cat(cameras))
