"""RealEstate10K: a text file for each clip with a camera per line, and the video it was cut from.

First a URL (or nothing), then lines of 19 numbers: time in microseconds, fx fy cx cy as fractions of width and height,
two zeros, and the 3x4 camera-from-world matrix by rows, OpenCV axes. Every clip has an arbitrary unit of its own.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.checks import check_unskewed
from geometry.camera.tool_parameters import cameras_to_realestate10k
from geometry.errors import InputError
from geometry.io.captures.posed import PosedImage, PosedImages, require_images
from geometry.io.entries import columns, rigid_rows
from geometry.io.files import exact_line, read_file, write_file
from geometry.io.images import image_hw
from geometry.io.video import video_times
from geometry.rotation.transforms import invert_rigid
from geometry.shapes import Float

_MAX_BYTES = 50_000_000
_SUFFIXES = (".jpg", ".png", ".jpeg", ".webp")


def is_realestate10k(path: Path) -> bool:
    """Whether a file is such a text, by its columns, or by its video or folder of images beside it."""
    beside = any(media.exists() for media in _beside(path))
    return path.suffix == ".txt" and path.is_file() and (beside or columns(path) == 19)


def realestate10k_captures(path: Path) -> list[tuple[str, Callable[..., PosedImages]]]:
    """The capture that a text is with its video or folder of images beside it; none without."""
    return [("", partial(read_realestate10k, path))] if any(media.exists() for media in _beside(path)) else []


def read_realestate10k(
    path: Path | str,
    media: Path | None = None,
    hw: tuple[int, int] | None = None,
    video_start_s: float = 0.0,
    need_images: bool = True,
    skip_missing: bool = False,
) -> PosedImages:
    """Read a RealEstate10K text file with its images.

    Args:
        path: the text file.
        media: the video (times of the text are times in it, less `video_start_s`), or a folder of images named by their
            microseconds; by default `<stem>.mp4` or the folder `<stem>` beside the text, if there is one.
        hw: height and width of the images, needed where there are none.
        video_start_s: time of the text at which the video starts, seconds.
        need_images: whether every image must be in the folder of images, where there is one.
        skip_missing: leave lines out whose image is not in the folder of images, and say so in a note.

    Returns:
        The posed images, times in seconds; `path` is None without images, `video_s` is set for frames of a video.

    Raises:
        InputError: the file is not such a text (the message names the line), or images or video do not fit it.
    """
    path = Path(path)
    rows = _rows(path)
    if media is None:
        media = next((m for m in _beside(path) if m.is_file() or m.is_dir()), None)
    video_hw: tuple[int, int] | None = None
    found: list[Path | None] = [None] * len(rows)
    if media is not None and media.is_file():
        times, video_hw = video_times(media)
        late = max(row[0] / 1e6 - video_start_s for row in rows)
        if late > times[-1] + 0.1:
            raise InputError(f"{media}: {times[-1]:.2f} s long; expected {late:.2f} s at least, as {path.name} says")
        found = [media.absolute()] * len(rows)
    elif media is not None:
        found = [_image(media, f"{int(row[0])}") for row in rows]
        if need_images or skip_missing:
            missing = [f"{int(row[0])}" for row, image in zip(rows, found) if image is None]
            require_images(missing, len(rows), str(path), media, skip_missing)
    frames = []
    for n, (row, image) in enumerate(zip(rows, found)):
        if image is None and media is not None and skip_missing:
            continue
        size = video_hw or (image_hw(image, upright=False) if image else None) or hw
        start = None if video_hw is None else video_start_s
        frames.append(_frame(row, image, size, start, path, f"{path}: camera {n}"))
    return PosedImages(tuple(frames))


def _frame(
    row: list[float], image: Path | None, size: tuple[int, int] | None, start_s: float | None, path: Path, where: str
) -> PosedImage:
    if size is None:
        raise InputError(f"{path}: neither images nor their size; expected a video or images beside it, or `hw=`")
    height, width = size
    K = [[row[1] * width, 0, row[3] * width], [0, row[2] * height, row[4] * height], [0, 0, 1]]
    return PosedImage(
        file_path=f"{path.stem}/{int(row[0])}",
        path=image,
        world_from_camera=invert_rigid(_pose(row, where)),
        K=torch.tensor(K, dtype=torch.float64),
        hw=size,
        time_s=row[0] / 1e6,
        video_s=row[0] / 1e6 - start_s if start_s is not None else None,
    )


def write_realestate10k(path: Path | str, cameras: Cameras, url: str = "") -> None:
    """Write cameras as a RealEstate10K text file; `read_realestate10k` gives them back, times to a microsecond.

    Args:
        path: the text file.
        cameras: of batch shape [n], with increasing times.
        url: the first line, one word or nothing.

    Raises:
        InputError: no cameras, times that are negative or do not increase, a URL of several words or lines, and
            cameras with a lens, skew, NaN or Inf.
    """
    path = Path(path)
    cameras = cameras.to(torch.float64).to("cpu")
    check_unskewed(str(path), cameras)
    times = [round(1e6 * time) for time in cameras.time_s.tolist()] if len(cameras.shape) == 1 else []
    if not times or times[0] < 0 or any(after <= before for before, after in pairwise(times)):
        raise InputError(
            f"{path}: {len(times)} cameras at {times[:4]} microseconds; expected some, at increasing times"
        )
    if len(url.split()) > 1 or "\n" in url:
        raise InputError(f"{path}: URL {url[:60]!r}; expected one word or nothing")
    rows = cameras_to_realestate10k(cameras)
    if not bool(rows.isfinite().all()):
        raise InputError(f"{path}: cameras with NaN or Inf; expected finite numbers")
    lines = [f"{time} {exact_line(row)}" for time, row in zip(times, rows.tolist())]
    write_file(path, ("\n".join([url, *lines]) + "\n").encode())


def _beside(path: Path) -> tuple[Path, ...]:
    """The video and the folder of images that a text may have."""
    return (path.with_suffix(".mp4"), path.with_suffix("")) if path.name else ()  # "." and "/" have no name


def _rows(path: Path) -> list[list[float]]:
    """The lines of cameras, by time."""
    lines = read_file(path, "a RealEstate10K text file", _MAX_BYTES).decode("utf-8", "replace").splitlines()
    first = 1 if lines and len(lines[0].split()) != 19 else 0
    rows = [_row(line, f"{path}: line {n}") for n, line in enumerate(lines[first:], first + 1) if line.strip()]
    if not rows:
        raise InputError(f"{path}: no cameras; expected lines of 19 numbers after the first")
    back = next((n for n, (a, b) in enumerate(pairwise(rows), 1) if b[0] < a[0]), None)
    if back is not None:
        raise InputError(f"{path}: time of camera {back} is before that of the one above; expected times that increase")
    return rows


def _row(line: str, where: str) -> list[float]:
    try:
        row = [float(word) for word in line.split()]
    except ValueError:
        row = []
    if len(row) != 19 or not all(math.isfinite(value) for value in row):
        raise InputError(f"{where}: {line[:40]!r}; expected 19 finite numbers")
    if not (row[1] > 0 and row[2] > 0):
        raise InputError(f"{where}: focal lengths {row[1]:g} {row[2]:g}; expected fractions above 0")
    if not 0 <= row[0] <= 1e15:
        raise InputError(f"{where}: time {row[0]:g}; expected microseconds from 0 on")
    return row


def _pose(row: list[float], where: str) -> Float[torch.Tensor, "4 4"]:
    return rigid_rows([row[7:11], row[11:15], row[15:19]], f"{where}: its matrix")


def _image(folder: Path, name: str) -> Path | None:
    found = next((folder / (name + suffix) for suffix in _SUFFIXES if (folder / (name + suffix)).is_file()), None)
    return None if found is None else found.absolute()
