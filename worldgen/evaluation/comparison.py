"""Models and baselines on one set of scenes: the figures, the paired differences, the contact sheet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import BACKWARD_ORACLE, BLIND, ORACLE, seen
from worldgen.evaluation.metrics.consistency import consistency_figures
from worldgen.evaluation.metrics.control import Recorded, control_figures
from worldgen.evaluation.metrics.image import psnr, ssim
from worldgen.evaluation.metrics.intervals import interval, paired_difference
from worldgen.evaluation.predictions import (
    CLIPS_AT_ONCE,
    FULL,
    ONE,
    Prediction,
    baseline_predictions,
    generated,
    scores,
)
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling
from worldgen.runtime.config import plain
from worldgen.runtime.contact_sheet import depth_image, grid

COMPARED = ("psnr", "ssim", "abs_rel", "agreement")  # figures whose differences between models are reported
_SHEET_SCENES = 6


@dataclass(frozen=True)
class Part:
    """Scenes recorded alike, which share one table of figures and one sheet.

    clip      [b, f] the exact truth
    order     its frames in the order in which they are given
    targets   its frames that are asked for
    given     numbers of frames to give, a table row each
    near_far  metres shown on the sheet
    recorded    the scenes themselves, for figures that render them
    """

    clip: Clip
    order: tuple[int, ...]
    targets: tuple[int, ...]
    given: tuple[int, ...]
    near_far: tuple[float, float] = (1.5, 15.0)
    recorded: Recorded | None = None


@dataclass(frozen=True)
class Geometry:
    """Figures of what the generated views mean in space, which take longer than those of their images.

    consistency  whether views agree with each other (`worldgen.evaluation.metrics.consistency`)
    pose_scenes  scenes whose views' poses are recovered (`worldgen.evaluation.metrics.control`)
    loop_scenes  scenes that are gone once round (`worldgen.evaluation.metrics.loops`)
    """

    consistency: bool = False
    pose_scenes: int = 0
    loop_scenes: int = 0

    def __post_init__(self) -> None:
        if min(self.pose_scenes, self.loop_scenes) < 0:
            raise InputError(f"{self.pose_scenes} scenes for poses, {self.loop_scenes} for loops; expected 0 or more")


IMAGES_ONLY = Geometry()


@dataclass(frozen=True)
class Comparison:
    """Who is compared, and how they are asked.

    model      the first; the others are measured against it
    rivals     further networks by name, for example ablations of the first
    samplings  by name of the way of asking
    seed       of the bootstrap
    """

    model: WorldModel
    other_models: Mapping[str, WorldModel]
    samplings: dict[str, Sampling]
    seed: int

    @staticmethod
    def of(
        model: WorldModel, other_models: Mapping[str, WorldModel], sampling: Sampling, sampled: bool, seed: int
    ) -> "Comparison":
        """One network call of each model and, where `sampled`, a full sample."""
        samplings = {ONE: replace(ONE_CALL, seed=sampling.seed)} | ({FULL: sampling} if sampled else {})
        return Comparison(model, other_models, samplings, seed)

    def entrants(self) -> dict[str, tuple[WorldModel, Sampling]]:
        """Every model asked in every way, by the name it has in a table."""
        own = {how: (self.model, sampling) for how, sampling in self.samplings.items()}
        theirs = {
            f"{how}: {name}": (model, sampling)
            for name, model in self.other_models.items()
            for how, sampling in self.samplings.items()
        }
        return own | theirs


@dataclass(frozen=True)
class PartResult:
    """What came of a part: figures by number of given images, seconds a clip and step, columns and sheet, and figures
    in space by name (`Geometry`)."""

    cells: dict[str, Any]
    timings: dict[str, Any]
    columns: list[str]
    sheet: Float[Tensor, "3 height width"]
    spatial: dict[str, Any]


@dataclass
class Counter:
    """Counts sampling steps for the caller's progress bar."""

    total: int
    progress: Callable[[int, int], None] | None
    done: int = field(default=0)

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def steps(scenes: int, given: int, models: int, sampling: Sampling, sampled: bool) -> int:
    """Sampling steps that one part takes."""
    chunks = -(-scenes // CLIPS_AT_ONCE)
    return chunks * given * models * (1 + sampling.steps * sampled)


def compare(part: Part, contest: Comparison, on_step: Counter, geometry: Geometry) -> PartResult:
    """Everyone's figures on one part. The sheet and the figures in space are of the middle one of the numbers given."""
    cells, timings, columns, spatial = {}, {}, {}, {}
    middle = sorted(part.given)[len(part.given) // 2]
    for given in part.given:
        chosen = [*part.order[:given], *part.targets]
        known, targets = part.clip.frames(chosen[:given]), part.clip.frames(chosen[given:])
        predictions: dict[str, Prediction] = {}
        timings[str(given)] = {}
        for name, (model, sampling) in contest.entrants().items():
            predictions[name], timings[str(given)][name] = generated(
                model, known, targets, sampling, (chosen, len(part.clip)), on_step
            )
        predictions |= baseline_predictions(known, targets)
        cells[str(given)] = figures(predictions, known, targets, contest)
        if geometry.consistency and given == middle:
            spatial["consistency"] = consistency_figures(targets, predictions, contest.seed)
        if geometry.pose_scenes and part.recorded is not None and given == middle:
            spatial["camera_control"] = control_figures(
                part.recorded, known, targets, predictions, geometry.pose_scenes, contest.seed
            )
        if given == middle:
            columns = _columns(predictions, known, targets, part.near_far)
    names = [f"{name} ({images.shape[1]})" for name, images in columns.items()]
    return PartResult(cells, timings, names, sheet(columns), {key: value for key, value in spatial.items() if value})


def figures(predictions: dict[str, Prediction], known: Clip, targets: Clip, contest: Comparison) -> dict[str, Any]:
    """Every method's figures for one number of given images, what the first model's one call gains over the best
    blind baseline, and what the other models' figures differ by from the first one's, scene by scene."""
    visible = seen(known, targets)
    table = {name: dict(scores(answer, known, targets, visible)) for name, answer in predictions.items()}
    return {"seen_fraction": interval(visible.float().mean((1, 2, 3, 4)), contest.seed)} | _summary(table, contest)


def figures_of_images(predictions: dict[str, Prediction], targets: Clip, contest: Comparison) -> dict[str, Any]:
    """The same where nothing but images is known: PSNR and SSIM."""
    table = {
        name: {"psnr": psnr(answer.rgb, targets.rgb).mean(-1), "ssim": ssim(answer.rgb, targets.rgb).mean(-1)}
        for name, answer in predictions.items()
        if answer.rgb is not None
    }
    return _summary(table, contest)


def _summary(table: dict[str, dict[str, Tensor]], contest: Comparison) -> dict[str, Any]:
    best = max(BLIND, key=lambda name: float(table[name]["psnr"].mean()))
    gain = paired_difference(table[ONE]["psnr"], table[best]["psnr"], contest.seed)
    methods = {
        method: {name: interval(values, contest.seed) for name, values in of_method.items()}
        for method, of_method in table.items()
    }
    return {"gain_db": {"over": best, **gain}, "methods": methods} | against_first(table, contest)


def against_first(table: dict[str, dict[str, Tensor]], contest: Comparison) -> dict[str, Any]:
    """Paired differences of each rival's figures to the same figures of the first model; nothing without rivals."""
    if not contest.other_models:
        return {}
    differences = {
        f"{how}: {name}": {
            figure: paired_difference(table[f"{how}: {name}"][figure], table[how][figure], contest.seed)
            for figure in COMPARED
            if figure in table[how]
        }
        for name in contest.other_models
        for how in contest.samplings
    }
    return {"against_first": differences}


def check_fits(models: Mapping[str, WorldModel], size_px: int, frames: int) -> None:
    """Raise InputError for a model of another image size, or of fewer frames."""
    for model in models.values():
        if model.config.size_px != size_px or model.config.frames < frames:
            raise InputError(
                f"model of {model.config.frames} frames of {model.config.size_px} px evaluated on {frames} frames of "
                f"{size_px} px; expected the same size, and at most its frames"
            )


def check_sampled(sampled: tuple[str, ...], names: list[str], what: str) -> None:
    """Raise InputError for full samples on a part there is none of."""
    unknown = sorted(set(sampled) - set(names))
    if unknown:
        raise InputError(f"samples for {what} {unknown[0]!r}; expected some of {', '.join(names)}")


def identity(
    model: WorldModel, other_models: Mapping[str, WorldModel], sampling: Sampling, config: Any
) -> dict[str, Any]:
    """What was evaluated, how, and on what; `config` is a dataclass with a `sha256`."""

    def weights(name: str, one: WorldModel) -> dict[str, Any]:
        facts = {"name": name, "weights_sha256": one.weights_sha256 or None}
        return facts if one.computes_in == "fp32" else facts | {"precision": one.computes_in}

    others = {"rivals": [weights(name, rival) for name, rival in other_models.items()]} if other_models else {}
    return {
        "model": weights(model.config.name, model),
        **others,
        "sampling": plain(sampling),
        "config": plain(config),
        "config_sha256": config.sha256,
    }


def machine(model: WorldModel) -> dict[str, Any]:
    """Where timings come from."""
    return {"device": str(model.device), "threads": torch.get_num_threads(), "torch": torch.__version__}


def _columns(
    predictions: dict[str, Prediction], known: Clip, targets: Clip, near_far: tuple[float, float]
) -> dict[str, Float[Tensor, "b _ 3 h w"]]:
    """The first scenes' images [b, n, 3, h, w] of each column of a sheet."""
    first = slice(0, _SHEET_SCENES)
    models = [name for name in predictions if name.split(":")[0] in (ONE, FULL)]
    shown = [name for name in (*models, ORACLE, BACKWARD_ORACLE, "copy nearest") if name in predictions]
    depths = {"true depth": targets.depth, "depth of one call": predictions[ONE].depth}
    images = {"given": known.rgb, "truth": targets.rgb} | {name: predictions[name].rgb for name in shown}
    return {name: rgb[first] for name, rgb in images.items() if rgb is not None} | {
        name: torch.stack([torch.stack([depth_image(d, *near_far) for d in clip]) for clip in depth[first]])
        for name, depth in depths.items()
        if depth is not None
    }


def sheet(columns: dict[str, Tensor]) -> Float[Tensor, "3 height width"]:
    """Images [b, n, 3, h, w] of each column, one scene a row."""
    scenes = min(len(images) for images in columns.values())
    return grid([[image for images in columns.values() for image in images[b]] for b in range(scenes)])
