"""Every command on photos of 1, 4 and 12 megapixels: `python -m benchmarks.files.photos ../shared/data/fox`.

The capture (a transforms.json with a lens) is enlarged into a temporary folder; every command runs in a process of its
own. Shown are its seconds of one core and its peak RAM. `--before DIR` measures the package in another checkout too,
such as an older one. A command that takes longer than `--limit` seconds is stopped and shown with `>`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from geometry.errors import InputError
from geometry.image.resampling import undistort
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.images import read_image, write_png

MEGAPIXELS = (1, 4, 12)
GIVEN = 4
PNG_SIDE = 10_000
_MAIN = "import sys; from worldgen.cli import main; sys.exit(main())"
_UNDISTORT = (
    "from geometry.io.captures.nerfstudio import read_transforms; from geometry.image.framing import "
    "undistort_and_fill; frame = read_transforms({!r}).frames[0]; undistort_and_fill(frame.read(), frame.camera)"
)


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds of one core, peak RAM in MB, and its exit code, None where it was stopped."""

    seconds: float
    mb: float
    code: int | None

    def __str__(self) -> str:
        sign = {0: "", None: "> "}.get(self.code, f"exit {self.code}, ")
        return f"{sign}{self.seconds:.1f} s, {self.mb:.0f} MB"


_LAUNCHER = """
import json, resource, subprocess, sys
limit, *words = sys.argv[1:]
code = None
try:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    code = subprocess.run(words, timeout=float(limit), **quiet).returncode
except subprocess.TimeoutExpired:
    pass
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, code]))
"""


def run(code: str, words: list[str], checkout: Path, limit_s: float) -> Cost:
    """Run Python code with arguments; the package is that of a checkout.

    A small process starts it: the peak RAM of a process counts what its parent used before.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _LAUNCHER, str(limit_s), sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    seconds, mb, exit_code = json.loads(done.stdout)
    return Cost(seconds, mb, exit_code)


def enlarged(capture: Path, megapixels: float, images: int, folder: Path) -> list[Path]:
    """The first images of a capture at another size, beside a transforms.json of the same cameras; their paths."""
    data = json.loads((capture / "transforms.json").read_text("utf-8"))
    frames = data["frames"][:images]
    paths = []
    for frame in frames:
        rgb = read_image(capture / frame["file_path"], upright=False)
        height, width = rgb.shape[-2:]
        factor = (1e6 * megapixels / (height * width)) ** 0.5
        size = (round(height * factor), round(width * factor))
        large = torch.nn.functional.interpolate(rgb[None], size, mode="bicubic")[0].clamp(0, 1)
        paths.append(folder / frame["file_path"])
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        _save(paths[-1], large)
        for values in (data, frame):
            _scale(values, size[1] / width, size[0] / height, frame is frames[0] or values is frame)
    data["frames"] = frames
    (folder / "transforms.json").write_text(json.dumps(data))
    return paths


def _save(path: Path, rgb: torch.Tensor) -> None:
    from PIL import Image

    pixels = (rgb * 255).round().byte().movedim(0, -1).numpy()
    Image.fromarray(pixels).save(path, quality=92)


def _scale(values: dict[str, Any], across: float, down: float, now: bool) -> None:
    """Scale the intrinsics in a file's object, once."""
    for keys, factor in ((("fl_x", "cx", "w"), across), (("fl_y", "cy", "h"), down)):
        for key in keys:
            if now and key in values:
                values[key] = round(values[key] * factor) if key in "wh" else values[key] * factor


def commands(photos: list[Path], transforms: Path, out: Path) -> dict[str, tuple[str, list[str]]]:
    """Code and arguments by what is measured."""
    file, given = str(transforms), [str(path) for path in photos[:GIVEN]]
    fast = ["--model", "tiny-4", "--frames", "4"]
    return {
        "undistort a photo": (_UNDISTORT.format(file), []),
        "orbit of a photo": (_MAIN, ["orbit", given[0], *fast, "--output", str(out / "one")]),
        f"orbit of {GIVEN} posed photos": (
            _MAIN, ["orbit", *given, "--cameras", file, *fast, "--output", str(out / "posed")]
        ),
        "curate": (_MAIN, ["curate", str(transforms.parent), "--frames", "4", "--output", str(out / "curated")]),
        "evaluate captures": (
            _MAIN,
            ["evaluate", "captures", str(transforms.parent), "--given", "4", "--most-views", "2", "--output",
             str(out / "evaluated")],
        ),
        "cameras show": (_MAIN, ["cameras", "show", file]),
        "cameras convert": (_MAIN, ["cameras", "convert", file, str(out / "cameras.tum")]),
    }  # fmt: skip


def measured(
    title: str, capture: Path, sizes: tuple[int, ...], images: int, call: Callable[[str, list[str]], Cost]
) -> Table:
    """A row for each command, a column for each size."""
    rows: dict[str, list[str | None]] = {}
    for megapixels in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            photos = enlarged(capture, megapixels, images, folder / "capture")
            for label, (code, words) in commands(photos, folder / "capture" / "transforms.json", folder).items():
                cost = call(code, words)
                rows.setdefault(label, []).append(str(cost))
                print(f"{megapixels} MP, {label}: {cost}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as name:
        write_png(Path(name) / "large.png", torch.zeros(3, PNG_SIDE, PNG_SIDE))
        words = ["orbit", f"{name}/large.png", "--model", "tiny-4", "--frames", "4", "--output", f"{name}/out"]
        cost = call(_MAIN, words)
        print(f"PNG: {cost}", file=sys.stderr, flush=True)
        rows[f"orbit of a PNG of {PNG_SIDE} x {PNG_SIDE}"] = [None] * (len(sizes) - 1) + [str(cost)]
    columns = ("command", *(f"{size} megapixels" for size in sizes))
    cells = tuple((label, *row) for label, row in rows.items())
    return Table(title, columns, ("",) * len(columns), cells)


def undistort_seconds(capture: Path, megapixels: float) -> float:
    """Seconds of one core that undistorting an image of a capture's first camera takes, without reading it."""
    camera = read_transforms(capture / "transforms.json").frames[0].camera
    factor = (1e6 * megapixels / (camera.hw[0] * camera.hw[1])) ** 0.5
    large = camera.resized((round(camera.hw[0] * factor), round(camera.hw[1] * factor)))
    image, seconds = torch.rand(3, *large.hw), []
    torch.set_num_threads(1)
    for _ in range(3):
        began = time.process_time()
        undistort(image, large)
        seconds.append(time.process_time() - began)
    return median(seconds)


@reporting_errors
def main() -> int:
    """Measure, print the table, write the report."""
    parser = command(__doc__)
    parser.add_argument("capture", type=Path, help="folder of a transforms.json and its images")
    parser.add_argument("--megapixels", type=int, nargs="+", default=list(MEGAPIXELS), help="default 1 4 12")
    parser.add_argument("--images", type=int, default=9, help="of the capture (default 9)")
    parser.add_argument("--before", type=Path, help="another checkout, measured as well")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a command may take (default 120)")
    arguments = parser.parse_args()
    if not (arguments.capture / "transforms.json").is_file() or arguments.images <= GIVEN:
        raise InputError(f"{arguments.capture}: expected a folder with a transforms.json, and more than {GIVEN} images")
    here = Path(__file__).parents[2]
    checkouts = {"Now": here} | ({} if arguments.before is None else {"Before": arguments.before.resolve()})
    tables = [
        measured(
            title, arguments.capture, tuple(arguments.megapixels), arguments.images,
            lambda code, words, at=checkout: run(code, words, at, arguments.limit),
        )
        for title, checkout in checkouts.items()
    ]  # fmt: skip
    notes = [
        f"{arguments.images} images of the capture, enlarged; {GIVEN} of them given to an orbit of 4 frames by "
        "`tiny-4`. Each in a process of its own on one thread: seconds of one core with Python's start, and peak RAM."
    ]
    largest = max(arguments.megapixels)
    alone = undistort_seconds(arguments.capture, largest)
    notes.append(f"Undistorting {largest} megapixels by itself, without reading them: {alone:.1f} s of one core.")
    return publish(Report.now("Commands on large photos", tables, notes), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
