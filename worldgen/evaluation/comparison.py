"""Models and baselines on one part of a set: figures, paired differences, contact sheet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from geometry.errors import InputError
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import ORACLES, seen
from worldgen.evaluation.enlarging import size_made
from worldgen.evaluation.metrics.consistency import consistency_figures
from worldgen.evaluation.metrics.control import CameraControl, control_figures
from worldgen.evaluation.metrics.intervals import Figures, interval, paired_difference
from worldgen.evaluation.predictions import (
    FULL,
    ONE,
    Prediction,
    Problem,
    baseline_predictions,
    clips_at_once,
    predict,
    scores,
    single_views,
)
from worldgen.evaluation.report import COMPARED, Gain, GivenResult, PartResult
from worldgen.evaluation.sets.evaluation_set import Part, Truth
from worldgen.evaluation.sheets import Columns, column_names, scene_columns, sheet, view_columns
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, Sampling
from worldgen.pipelines.view_schedule import NEAREST
from worldgen.runtime.progress import Counter

_SWEEP = 0.15  # of a sampling step: what the plane sweep of a target of 64 px costs with each given image
PerScene = dict[str, dict[str, Tensor]]  # values [scenes] by method and figure


@dataclass(frozen=True)
class SpatialMetrics:
    """Figures of what the generated views mean in space, which take longer than those of their images.

    Attributes:
        consistency: Whether views agree with each other (`worldgen.evaluation.metrics.consistency`).
        pose_scenes: Scenes whose views' poses are recovered (`worldgen.evaluation.metrics.control`).
        loop_scenes: Scenes that are gone once round (`worldgen.evaluation.metrics.loops`).
    """

    consistency: bool = False
    pose_scenes: int = 0
    loop_scenes: int = 0

    def __post_init__(self) -> None:
        if min(self.pose_scenes, self.loop_scenes) < 0:
            raise InputError(f"{self.pose_scenes} scenes for poses, {self.loop_scenes} for loops; expected 0 or more")


IMAGES_ONLY = SpatialMetrics()


@dataclass(frozen=True)
class Comparison:
    """The models that are compared, and how they are sampled.

    model         the first; the others are measured against it
    other_models  further networks by name, for example ablations of the first
    sampling      of full samples; beside them stands one call of the network, the posterior mean
    seed          of the bootstrap
    size_px       of the set's frames; models that cannot make it are enlarged
    """

    model: WorldModel
    other_models: Mapping[str, WorldModel]
    sampling: Sampling
    seed: int
    size_px: int

    def samplings(self, full: bool) -> dict[str, Sampling]:
        """One call of the network and, on request, a full sample."""
        return {ONE: replace(ONE_CALL, seed=self.sampling.seed)} | ({FULL: self.sampling} if full else {})

    def methods(self, full: bool) -> dict[str, tuple[WorldModel, Sampling]]:
        """Every model with every way of sampling it, by the name it has in a table."""
        return {
            self.name(how, other): (model, sampling)
            for other, model in {"": self.model, **self.other_models}.items()
            for how, sampling in self.samplings(full).items()
        }

    def name(self, how: str, other: str = "") -> str:
        """A model's way of being sampled in a table: "one call", "one call: other", "one call: other, enlarged"."""
        model = self.other_models[other] if other else self.model
        made = size_made(model, self.size_px) == self.size_px
        return how + (f": {other}" if other else "") + ("" if made else ", enlarged")

    def cost(self, part: Part, full: bool) -> float:
        """The work on a part, in sampling steps: these, and the plane sweeps of its targets."""
        steps = len(part.given) * sum(
            -(-part.clips // clips_at_once(size_made(model, self.size_px))) * sampling.calls(model)
            for model, sampling in self.methods(full).values()
        )
        views = len(part.targets) * (1 if part.by_view else part.clips)
        return steps + self.sweep_cost * views * sum(given for given in part.given if given > 1)

    @property
    def sweep_cost(self) -> float:
        """That of the plane sweep of a target with each given image."""
        return _SWEEP * (self.size_px / 64) ** 2


def compare(
    part: Part, truth: Truth, comparison: Comparison, full: bool, spatial: SpatialMetrics, on_step: Counter
) -> PartResult:
    """Every method's figures on one part. The sheet and the figures in space are of `Part.sheet_given` images."""
    results, seconds = {}, {}
    columns: Columns = {}
    consistency: dict[str, Figures] = {}
    control: CameraControl | None = None
    for given in part.given:
        frame_ids = (*part.order[:given], *part.targets)
        known, targets = (truth.clip.frames(list(ids)) for ids in (frame_ids[:given], frame_ids[given:]))
        problem = Problem(known, targets, frame_ids, len(truth.clip))
        predictions, seconds[given] = _predictions(problem, part, comparison, full, on_step)
        if part.by_view:
            targets = single_views(targets)
        results[given] = _figures(predictions, known, targets, comparison, full, part.exact)
        if given != part.sheet_given:
            continue
        columns = (
            view_columns(predictions, known, targets)
            if part.by_view
            else scene_columns(predictions, known, targets, part.near_far_m)
        )
        if spatial.consistency:
            consistency = consistency_figures(targets, predictions, comparison.seed)
        if spatial.pose_scenes and truth.scenes is not None:
            count = spatial.pose_scenes
            control = control_figures(truth.scenes, known, targets, predictions, count, comparison.seed)
    return PartResult(
        part.name, part.about, part.unit, part.facts, results, seconds, column_names(columns), sheet(columns),
        consistency, control,
    )  # fmt: skip


def _predictions(
    problem: Problem, part: Part, comparison: Comparison, full: bool, on_step: Counter
) -> tuple[dict[str, Prediction], dict[str, float]]:
    """Every method's predictions, and the models' seconds a clip and step."""
    predictions: dict[str, Prediction] = {}
    seconds = {}
    for name, (model, sampling) in comparison.methods(full).items():
        own = problem.by_view(min(model.config.frames - 1, NEAREST)) if part.by_view else problem
        predictions[name], seconds[name] = predict(model, own, sampling, on_step)
    cost = comparison.sweep_cost * len(problem.known)
    baselines = baseline_predictions(problem.known, problem.targets, part.exact, lambda: on_step(cost))
    if part.by_view:
        baselines = {name: prediction.by_view() for name, prediction in baselines.items()}
    return predictions | baselines, seconds


def _figures(
    predictions: Mapping[str, Prediction], known: Clip, targets: Clip, comparison: Comparison, full: bool, exact: bool
) -> GivenResult:
    """Every method's figures for one number of given images, what the first model's one call gains over the best
    baseline without learning, and how the other models' figures differ from the first one's, scene by scene."""
    seed = comparison.seed
    visible = seen(known, targets) if exact else None
    table: PerScene = {name: dict(scores(p, known, targets, visible)) for name, p in predictions.items()}
    fair = [name for name in table if name not in comparison.methods(full) and name not in ORACLES]
    best = max((name for name in fair if "psnr" in table[name]), key=lambda name: float(table[name]["psnr"].mean()))
    return GivenResult(
        seen_fraction=None if visible is None else interval(visible.float().mean((1, 2, 3, 4)), seed),
        gain=Gain(best, paired_difference(table[comparison.name(ONE)]["psnr"], table[best]["psnr"], seed)),
        methods={
            method: {name: interval(values, seed) for name, values in of_method.items()}
            for method, of_method in table.items()
        },
        against_first=_against_first(table, comparison, full),
    )


def _against_first(table: PerScene, comparison: Comparison, full: bool) -> dict[str, Figures]:
    """Paired differences of each other model's figures to the same figures of the first model."""
    return {
        comparison.name(how, other): {
            figure: paired_difference(theirs[figure], ours[figure], comparison.seed)
            for figure in COMPARED
            if figure in ours
        }
        for other in comparison.other_models
        for how in comparison.samplings(full)
        for ours, theirs in [(table[comparison.name(how)], table[comparison.name(how, other)])]
    }
