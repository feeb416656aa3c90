"""`worldgen evaluate captures`: some images of a real capture in, its other views out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.framing import square, undistort_and_fill
from worldgen.core.clip import Clip
from worldgen.core.view_distance import spread_order, squared_distances
from worldgen.data.captures import Capture, find_captures, read_images
from worldgen.evaluation.comparison import (
    Comparison,
    Counter,
    check_fits,
    figures_of_images,
    identity,
    machine,
    sheet,
    steps,
)
from worldgen.evaluation.predictions import Prediction, baseline_predictions, generated
from worldgen.evaluation.report import write_report
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.atomic_dir import check_output
from worldgen.runtime.config import digest

_SHEET_VIEWS = 6


@dataclass(frozen=True)
class CapturesEvaluation:
    """How captures are read and what is asked.

    given       numbers of images to give
    most_views  held-out views of a capture to make at most, spread over it
    fit         "crop" to the center square, or "pad" to a square by repeating the border
    seed        of the bootstrap
    """

    size_px: int = 64
    given: tuple[int, ...] = (4, 8)
    most_views: int = 32
    fit: str = "crop"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size_px, self.most_views, *self.given, len(self.given)) < 1:
            raise InputError(
                f"{list(self.given)} images of {self.size_px} px given for {self.most_views} views; expected at "
                "least 1 of each"
            )
        if self.fit not in ("crop", "pad"):
            raise InputError(f"fit {self.fit!r}; expected crop or pad")

    @property
    def sha256(self) -> str:
        """The hash of the values as JSON without spaces."""
        return digest(self)


def read_capture(capture: Capture, size_px: int, fit: str) -> tuple[Clip, tuple[str, ...]]:
    """A capture's images as one clip [f] of squares without lens distortion, depth unknown, and their names.

    Raises InputError for a broken capture.
    """
    images = list(capture.read().frames)
    pairs = []
    for image, rgb in zip(images, read_images(images)):
        flat, camera = undistort_and_fill(rgb, image.camera)
        pairs.append(square(flat, camera, fit, size_px))
    cameras = Cameras.cat([camera[None] for _, camera in pairs])
    rgb = torch.stack([rgb for rgb, _ in pairs])
    return Clip(rgb, torch.zeros_like(rgb[:, :1]), cameras), tuple(image.file_path for image in images)


def evaluate_captures(
    model: WorldModel,
    sources: Sequence[Path],
    config: CapturesEvaluation,
    sampling: Sampling,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    full: bool = False,
    other_models: Mapping[str, WorldModel] | None = None,
) -> dict[str, Any]:
    """Figures of held-out views of every capture in files and folders, beside what needs no depth; written to `output`.

    sampling  of the full sample; the other prediction is one call of the network, the posterior mean
    full      also draw full samples, which takes long
    rivals    further models on the same views, by name, with their paired differences to the first

    Raises InputError when the folder exists, no capture is found, one is broken, all have too few images, or a model
    does not fit. Captures of too few images beside others are skipped, and the report says so.
    """
    other_models = other_models or {}
    check_fits({model.config.name: model, **other_models}, config.size_px, 2)
    if output is not None:
        check_output(output, overwrite=False)
    found = [capture for source in sources for capture in find_captures(Path(source))]
    names = [capture.name for capture in found]
    if len(set(names)) != len(names):
        raise InputError(f"captures {names}; expected each once")
    clips: dict[str, tuple[Clip, tuple[str, ...]]] = {}
    skipped: list[str] = []
    for capture in found:
        clip, files = read_capture(capture, config.size_px, config.fit)
        if len(clip) <= max(config.given):
            skipped.append(f"{capture.name}: {len(clip)} images, not more than the {max(config.given)} to be given")
        else:
            clips[capture.name] = (clip, files)
    if not clips:
        raise InputError(f"nothing to evaluate ({'; '.join(skipped)}); expected more images, or a smaller --given")
    contest = Comparison.of(model, other_models, sampling, full, config.seed)
    total = sum(steps(_held_out(len(clip), config), 1, 1 + len(other_models), sampling, full) * len(config.given)
                for clip, _ in clips.values())  # fmt: skip
    counter = Counter(total, progress)
    captures, sheets, timings = {}, {}, {}
    for capture in (one for one in found if one.name in clips):
        part, timings[capture.name], sheets[capture.name] = _evaluate(*clips[capture.name], config, contest, counter)
        captures[capture.name] = {"format": capture.kind, "images": len(clips[capture.name][0]), **part}
    report = {
        "evaluation": "captures",
        **identity(model, other_models, sampling, config),
        "skipped": skipped,
        "captures": captures,
    }
    if output is not None:
        write_report(output, report, machine(model) | {"seconds_per_view_and_step": timings}, sheets)
    return report


def _held_out(images: int, config: CapturesEvaluation) -> int:
    return min(images - max(config.given), config.most_views)


def _evaluate(
    clip: Clip, files: tuple[str, ...], config: CapturesEvaluation, contest: Comparison, on_step: Counter
) -> tuple[dict[str, Any], dict[str, Any], Tensor]:
    """The figures, timings and sheet of one capture. The held-out views are the same whatever is given."""
    order = spread_order(clip.cameras)
    held_out = sorted(order[max(config.given) :][: config.most_views])
    targets = clip.frames(held_out)
    cells, timings, columns = {}, {}, {}
    for given in config.given:
        known = clip.frames(order[:given])
        predictions: dict[str, Prediction] = {}
        timings[str(given)] = {}
        for name, (model, sampling) in contest.entrants().items():
            asked, wanted, numbers = _calls(known, targets, model.config.frames - 1)
            predictions[name], timings[str(given)][name] = generated(
                model, asked, wanted, sampling, (numbers, len(numbers)), on_step
            )
        whole = Clip(known.rgb[None], known.depth[None], known.cameras[None])
        alone = Clip(targets.rgb[None], targets.depth[None], targets.cameras[None])
        for name, answer in baseline_predictions(whole, alone, true_depth=False).items():
            assert answer.rgb is not None
            predictions[name] = Prediction(answer.rgb[0][:, None])
        single = Clip(targets.rgb[:, None], targets.depth[:, None], targets.cameras[:, None])
        cells[str(given)] = figures_of_images(predictions, single, contest)
        if given == max(config.given):
            columns = _columns(predictions, known, single)
    names = [f"{name} ({images.shape[1]})" for name, images in columns.items()]
    part = {
        "given_images": [files[i] for i in order[: max(config.given)]],
        "held_out": [files[i] for i in held_out],
        "sheet_columns": names,
        "given": cells,
    }
    return part, timings, sheet(columns)


def _calls(known: Clip, targets: Clip, most: int) -> tuple[Clip, Clip, list[int]]:
    """One clip [n, k] of the nearest known frames for each of the n targets [n, 1], nearest first, and its ids."""
    count = min(len(known), most)
    nearest = torch.stack(
        [squared_distances(targets.cameras[i], known.cameras).argsort(stable=True)[:count] for i in range(len(targets))]
    )
    asked = Clip(known.rgb[nearest], known.depth[nearest], known.cameras[nearest])
    wanted = Clip(targets.rgb[:, None], targets.depth[:, None], targets.cameras[:, None])
    return asked, wanted, list(range(count + 1))


def _columns(predictions: dict[str, Prediction], known: Clip, targets: Clip) -> dict[str, Tensor]:
    """Held-out views, one a row: the truth, everyone's images, and the image given there (one a row as well)."""
    first = slice(0, _SHEET_VIEWS)
    images = {"truth": targets.rgb} | {name: answer.rgb for name, answer in predictions.items()}
    columns = {name: rgb[first] for name, rgb in images.items() if rgb is not None}
    rows = len(columns["truth"])
    given = known.rgb[torch.arange(rows) % len(known)][:, None]
    return {"given, in their order": given} | columns
