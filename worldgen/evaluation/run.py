"""An evaluation from beginning to end, and its folder."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from geometry.errors import InputError
from geometry.io.images import write_png
from worldgen.evaluation.comparison import IMAGES_ONLY, Comparison, SpatialMetrics, compare
from worldgen.evaluation.enlarging import size_made
from worldgen.evaluation.markdown import markdown, sheet_name
from worldgen.evaluation.metrics.loops import Loops, loop_figures, loop_steps
from worldgen.evaluation.report import ModelFacts, PartResult, Report
from worldgen.evaluation.sets.evaluation_set import EvaluationSet, Part, SetInfo
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.manifest import tried
from worldgen.runtime.progress import Report as Progress
from worldgen.runtime.progress import Work, shown

_LOOPS = "closed loops"  # a stage beside the parts, whose names have no spaces
REPORT = "evaluation"  # what the folder's manifest says it holds


def evaluate(
    evaluation_set: EvaluationSet,
    model: WorldModel,
    sampling: Sampling | None = None,
    *,
    other_models: Mapping[str, WorldModel] | None = None,
    full: Collection[str] = (),
    spatial: SpatialMetrics = IMAGES_ONLY,
    output: Path | None = None,
    progress: bool | Progress = False,
) -> Report:
    """Figures of a model and of the baselines beside it, part by part.

    Two predictions of a model are evaluated: one call of its network, the posterior mean, on every part; and a full
    sample on some.

    Args:
        evaluation_set: What to evaluate on, such as `OrbitSet`, `FamiliesSet`, `CapturesSet` or one's own.
        model: The model.
        sampling: Of full samples (default: the model's own); its seed is that of all noise.
        other_models: Further models on the same scenes, by name, with their paired differences to the first.
        full: Names of the parts on which full samples are drawn, which takes long.
        spatial: Further figures. Loops start from the first given images of the first part.
        output: A new or empty folder for the report: `report.json`, `report.md`, `timings.json` and contact sheets.
        progress: Whether to show it on stderr, or a function that is called with the share of the work that is done, of
            models and baselines, and the name of the part.

    Returns:
        The report, which is the same for the same models, set and sampling, but for its timings. A part that fails
        after another is finished is left out: a note and the report's `skipped` say why.

    Raises:
        InputError: The folder holds something or cannot be written, a model does not fit the set, a name in `full` is
            not that of a part, or the set has no truth for the further figures.
    """
    comparison = Comparison(
        model, other_models or {}, Sampling.of(model) if sampling is None else sampling, evaluation_set.info.seed,
        evaluation_set.info.size_px,
    )  # fmt: skip
    with nullcontext() if output is None else new_folder(output, kind=REPORT) as folder, shown(progress) as said:
        report = _evaluated(evaluation_set, comparison, full, spatial, said)
        if folder is not None:
            write_report_files(folder, report)
    return report


def _evaluated(
    evaluation_set: EvaluationSet,
    comparison: Comparison,
    full: Collection[str],
    spatial: SpatialMetrics,
    said: Progress,
) -> Report:
    info, parts = evaluation_set.info, evaluation_set.parts()
    model, others = comparison.model, comparison.other_models
    _check(info, parts, [model, *others.values()], full, spatial)
    costs = {part.name: comparison.cost(part, part.name in full) for part in parts[:1]}
    if spatial.loop_scenes:
        costs[_LOOPS] = float(loop_steps(comparison.methods(bool(full))))
    work = Work(said, costs | {part.name: comparison.cost(part, part.name in full) for part in parts[1:]})
    results: list[PartResult] = []
    loops: Loops | None = None
    failed: list[str] = []
    for part in parts:
        loop_scenes = 0 if results else spatial.loop_scenes
        make = partial(
            _compared, part, comparison, part.name in full, spatial, work, bool(full), loop_scenes, info.seed
        )
        # The first may fail as it likes; after it, what is finished is kept.
        made, why = tried(f"{info.part_noun} {part.name} is left out", make) if results else (make(), "")
        if made is None:
            failed.append(f"{part.name}: {why}")
        else:
            results.append(made[0])
            loops = loops or made[1]
    said(1, "done")
    if failed:
        info = replace(info, skipped=(*(info.skipped or ()), *failed))
    machine = {"device": str(model.device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    models = tuple(ModelFacts.of(name, other, info.size_px) for name, other in others.items())
    first_model = ModelFacts.of(model.config.name, model, info.size_px)
    return Report(info, first_model, models, comparison.sampling, tuple(results), loops, machine)


def _compared(
    part: Part, comparison: Comparison, full: bool, spatial: SpatialMetrics, work: Work,
    full_loops: bool, loops: int, seed: int,
) -> tuple[PartResult, Loops | None]:  # fmt: skip
    """The figures of a part, and of loops around its first scenes."""
    on_step = work.counter(part.name)
    truth = part.load()
    result = compare(part, truth, comparison, full, spatial, on_step)
    if not loops:
        return result, None
    assert truth.scenes is not None, f"part {part.name} has no scenes; expected some, its set has loops"
    first = truth.clip.cameras[:loops, 0]
    return result, loop_figures(comparison.methods(full_loops), truth.scenes, first, seed, work.counter(_LOOPS))


def write_report(output: Path, report: Report) -> None:
    """Write a report as a new folder, whole or not at all.

    Args:
        output: The folder, new or empty.
        report: The report; the same evaluation gives the same bytes, but for timings.json.

    Raises:
        InputError: The folder holds something or cannot be written.
    """
    with new_folder(output, kind=REPORT) as folder:
        write_report_files(folder, report)


def write_report_files(folder: Path, report: Report) -> None:
    """Write the files of a report into a folder that is there; a sheet that fails is left out with a note."""
    for name, data in (("report.json", report.plain()), ("timings.json", report.timings())):
        text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    for part, sheet in report.sheets().items():
        path = folder / sheet_name(part)
        tried(f"{path.name} is left out", lambda path=path, sheet=sheet: write_png(path, sheet))


def _check(
    info: SetInfo, parts: Sequence[Part], models: Sequence[WorldModel], full: Collection[str], spatial: SpatialMetrics
) -> None:
    """Raise InputError for what cannot be evaluated."""
    names = [part.name for part in parts]
    if not names or len(set(names)) != len(names):
        raise InputError(f"parts {names} of the {info.name} evaluation; expected at least one, each of another name")
    if spatial.loop_scenes and not info.loops:
        loops = f"{spatial.loop_scenes} loops of the {info.name} evaluation"
        raise InputError(f"{loops}; expected 0, loops are of tabletops")
    if spatial != IMAGES_ONLY and not all(part.exact for part in parts):
        raise InputError(f"figures in space of the {info.name} evaluation; expected none, they need exact depth")
    frames = max(part.frames for part in parts)
    for model in models:
        if size_made(model, info.size_px) > info.size_px or model.config.frames < frames:
            raise InputError(
                f"model of {model.config.frames} frames of {model.config.size_px} px evaluated on {frames} frames of "
                f"{info.size_px} px; expected its size or a larger one, and at most its frames"
            )
    if unknown := sorted(set(full) - set(names)):
        raise InputError(f"samples for {info.part_noun} {unknown[0]!r}; expected some of {', '.join(names)}")
