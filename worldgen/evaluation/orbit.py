"""`worldgen evaluate orbit`: a few pictures of held-out scenes in, new views and depth out, against the exact truth."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry.cameras import Cameras
from geometry.errors import InputError
from geometry.shapes import Bool, Float
from worldgen.clip import Clip
from worldgen.config import plain
from worldgen.evaluation.baselines import BASELINES, BLIND, ORACLE, constant_depth, row_depth, seen
from worldgen.evaluation.image import depth_errors, psnr, ssim
from worldgen.evaluation.intervals import interval
from worldgen.evaluation.report import write_report
from worldgen.folders import check_output
from worldgen.gauge import batch_scale
from worldgen.model import WorldModel
from worldgen.pipelines.views import ONE_CALL, Sampling, generate_views
from worldgen.scenes.render import render
from worldgen.scenes.tabletop import tabletop
from worldgen.scenes.viewpoints import NUMBERS, ring
from worldgen.seeds import Domain, stream
from worldgen.sheets import depth_picture, grid

ONE, FULL = "one call", "full sample"
_CLIPS_AT_ONCE = 16
_SHEET_SCENES = 6
_SHEET_NEAR_M, _SHEET_FAR_M = 1.5, 15.0


@dataclass(frozen=True)
class OrbitEvaluation:
    """A held-out set and what is asked of it (`configs/evaluate_orbit.yaml`).

    seed         of the series of held-out scenes, which training never draws from
    supersample  rays per pixel and axis
    given        numbers of known pictures to evaluate with; the targets are the same for each
    targets      new views a scene
    spreads_deg  half angle of the arc the cameras stand on, by name; the order of the names is part of the set
    """

    family: str
    seed: int
    scenes: int
    size_px: int
    supersample: int
    given: tuple[int, ...]
    targets: int
    spreads_deg: dict[str, float]

    def __post_init__(self) -> None:
        if self.family != "tabletop":
            raise InputError(f"scenes of family {self.family!r}; expected tabletop")
        if min(self.scenes, self.targets, self.size_px, self.supersample, *self.given, len(self.given)) < 1:
            raise InputError(
                f"{self.scenes} scenes with {list(self.given)} given and {self.targets} target pictures of "
                f"{self.size_px} px, {self.supersample} rays a pixel and axis; expected at least 1 of each"
            )
        wrong = [name for name in self.spreads_deg if not name.isidentifier()]
        if wrong or not self.spreads_deg:
            raise InputError(f"spreads named {wrong or 'not at all'}; expected plain words, which name files")

    @property
    def sha256(self) -> str:
        """The hash of the parsed values as JSON without spaces: figures compare only where it is the same."""
        text = json.dumps(plain(self), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What one method says about b scenes; None where it has no opinion.

    rgb, depth   [b, t, ...] of the targets
    given_depth  [b, k, 1, h, w] of the given pictures
    """

    rgb: Float[Tensor, "b t 3 h w"] | None = None
    depth: Float[Tensor, "b t 1 h w"] | None = None
    given_depth: Float[Tensor, "b k 1 h w"] | None = None


def orbit_set(config: OrbitEvaluation, spread: str) -> Clip:
    """The frames [scenes, max(given) + targets] of one spread: the first k are given, the last are the targets.

    Each scene's cameras come from streams of its own for (scene, spread, role), so that a larger `given`, more scenes
    or another spread at the end of the list leave all other cameras as they were. Rendered on the CPU, whatever device
    is evaluated, so that the set is the same.
    """
    place = 1 + list(config.spreads_deg).index(spread)  # 0 would be the scene's own stream
    per_scene, per_frame = [], []
    for scene in range(config.scenes):
        given, targets = (stream(Domain.HELD_OUT_SCENES, config.seed, scene, place, role) for role in (0, 1))
        per_scene.append(given.random(NUMBERS))
        frames = [given.random((max(config.given), NUMBERS)), targets.random((config.targets, NUMBERS))]
        per_frame.append(np.concatenate(frames))
    for_scenes, for_frames = (torch.from_numpy(np.stack(draws)).float() for draws in (per_scene, per_frame))
    angles = torch.full((config.scenes,), config.spreads_deg[spread])
    cameras = ring(for_scenes, for_frames, angles, (config.size_px, config.size_px))
    return render(tabletop(config.seed, list(range(config.scenes)), held_out=True), cameras, config.supersample)


def evaluate_orbit(
    model: WorldModel,
    config: OrbitEvaluation,
    sampling: Sampling,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sampled: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Every figure of a model and of the baselines beside it, as plain data; written to the new folder `output`.

    sampling  of the full sample; the other prediction is one call of the network, the posterior mean
    progress  called with the sampling steps done and all there will be
    sampled   the spreads on which full samples are drawn, which is nearly all the work (default all)

    Raises InputError when the folder exists, or the model does not fit the set.
    """
    chosen = tuple(config.spreads_deg) if sampled is None else sampled
    _check(model, config, chosen)
    if output is not None:
        check_output(output, overwrite=False)
    chunks = math.ceil(config.scenes / _CLIPS_AT_ONCE)
    steps = len(config.spreads_deg) + sampling.steps * len(chosen)
    counter = _Counter(chunks * len(config.given) * steps, progress)
    spreads, timings, sheets = {}, {}, {}
    for spread in config.spreads_deg:
        samplings = {ONE: replace(ONE_CALL, seed=sampling.seed)} | ({FULL: sampling} if spread in chosen else {})
        spreads[spread], timings[spread], sheets[spread] = _evaluate(model, config, spread, samplings, counter)
    report = {"evaluation": "orbit", **_identity(model, config, sampling), "spreads": spreads}
    if output is not None:
        write_report(output, report, _machine(model) | {"seconds_per_clip_and_step": timings}, sheets)
    return report


class _Counter:
    """Counts sampling steps for the caller's progress bar."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None):
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _evaluate(
    model: WorldModel, config: OrbitEvaluation, spread: str, samplings: dict[str, Sampling], on_step: _Counter
) -> tuple[dict[str, Any], dict[str, Any], Tensor]:
    """The figures, timings and sheet of one spread. The sheet shows the middle one of the numbers given."""
    clip = orbit_set(config, spread)
    cells, timings, sheet_columns = {}, {}, {}
    for given in config.given:
        known, targets = clip.frames(slice(0, given)), clip.frames(slice(-config.targets, None))
        generated = {name: _generate(model, config, known, targets, how, on_step) for name, how in samplings.items()}
        answers = {name: answer for name, (answer, _) in generated.items()} | _baselines(known, targets)
        cells[str(given)] = _figures(answers, known, targets, config.seed)
        timings[str(given)] = {name: seconds for name, (_, seconds) in generated.items()}
        if given == sorted(config.given)[len(config.given) // 2]:
            sheet_columns = _sheet_columns(answers, known, targets)
    names = [f"{name} ({pictures.shape[1]})" for name, pictures in sheet_columns.items()]
    result = {"half_angle_deg": config.spreads_deg[spread], "sheet_columns": names, "given": cells}
    return result, timings, _sheet(sheet_columns)


def _check(model: WorldModel, config: OrbitEvaluation, sampled: tuple[str, ...]) -> None:
    frames = max(config.given) + config.targets
    if model.config.size_px != config.size_px or model.config.frames < frames:
        raise InputError(
            f"model of {model.config.frames} frames of {model.config.size_px} px evaluated on {frames} frames of "
            f"{config.size_px} px; expected the same size, and at most its frames"
        )
    unknown = sorted(set(sampled) - set(config.spreads_deg))
    if unknown:
        raise InputError(f"samples for spread {unknown[0]!r}; expected some of {', '.join(config.spreads_deg)}")


def _identity(model: WorldModel, config: OrbitEvaluation, sampling: Sampling) -> dict[str, Any]:
    """What was evaluated, how, and on what."""
    weights = {"name": model.config.name, "weights_sha256": model.weights_sha256 or None}
    return {"model": weights, "sampling": plain(sampling), "config": plain(config), "config_sha256": config.sha256}


def _machine(model: WorldModel) -> dict[str, Any]:
    return {"device": str(model.device), "threads": torch.get_num_threads(), "torch": torch.__version__}


def _generate(
    model: WorldModel, config: OrbitEvaluation, known: Clip, targets: Clip, sampling: Sampling, on_step: _Counter
) -> tuple[Answer, float]:
    """The model's answer from pictures alone, and the seconds a step took for each clip."""
    given, frames = len(known), max(config.given) + config.targets
    parts, start = [], time.perf_counter()
    for first in range(0, config.scenes, _CLIPS_AT_ONCE):
        some = slice(first, first + _CLIPS_AT_ONCE)
        pictures = Clip(known.rgb[some], torch.zeros_like(known.depth[some]), known.cameras[some])
        cameras = targets.cameras[some]
        scale = batch_scale(Cameras.cat([pictures.cameras, cameras]))
        # Noise belongs to the scene and the frame: a target starts from the same whatever is given.
        ids = [first * frames + i for i in [*range(given), *range(frames - config.targets, frames)]]
        parts.append(generate_views(model, pictures, cameras, scale, sampling, ids, on_step).to("cpu"))
    seconds = (time.perf_counter() - start) / (config.scenes * sampling.steps)
    rgb, depth = torch.cat([part.rgb for part in parts]), torch.cat([part.depth for part in parts])
    return Answer(rgb[:, given:], depth[:, given:], depth[:, :given]), seconds


def _baselines(known: Clip, targets: Clip) -> dict[str, Answer]:
    pictures = {name: Answer(baseline(known, targets.cameras)) for name, baseline in BASELINES.items()}
    maps = {"constant depth": constant_depth, "row depth": row_depth}
    depths = {name: Answer(None, f(known, len(targets)), f(known, len(known))) for name, f in maps.items()}
    return pictures | depths


def _figures(answers: dict[str, Answer], known: Clip, targets: Clip, seed: int) -> dict[str, Any]:
    """Every method's figures for one number of given pictures, and what the network's one call gains."""
    visible = seen(known, targets)
    scores = {name: dict(_scores(answer, known, targets, visible)) for name, answer in answers.items()}
    best = max(BLIND, key=lambda name: float(scores[name]["psnr"].mean()))
    gain = scores[ONE]["psnr"] - scores[best]["psnr"]
    return {
        "seen_fraction": interval(visible.float().mean((1, 2, 3, 4)), seed),
        "gain_db": {"over": best, **interval(gain, seed)},
        "methods": {
            method: {name: interval(values, seed) for name, values in of_method.items()}
            for method, of_method in scores.items()
        },
    }


def _scores(
    answer: Answer, known: Clip, targets: Clip, visible: Bool[Tensor, "b t 1 h w"]
) -> Iterator[tuple[str, Float[Tensor, "b"]]]:
    """The figures of one answer, each the mean over a scene's pictures (of those that have it)."""
    if answer.rgb is not None:
        yield "psnr", psnr(answer.rgb, targets.rgb).mean(-1)
        yield "psnr_seen", psnr(answer.rgb, targets.rgb, visible).nanmean(-1)
        yield "psnr_unseen", psnr(answer.rgb, targets.rgb, ~visible).nanmean(-1)
        yield "ssim", ssim(answer.rgb, targets.rgb).mean(-1)
    for prefix, depth, truth in (("", answer.depth, targets), ("given_", answer.given_depth, known)):
        if depth is not None:
            abs_rel, delta = depth_errors(depth, truth.depth)
            yield prefix + "abs_rel", abs_rel.nanmean(-1)
            yield prefix + "delta", delta.nanmean(-1)


def _sheet_columns(answers: dict[str, Answer], known: Clip, targets: Clip) -> dict[str, Float[Tensor, "b _ 3 h w"]]:
    """The first scenes' pictures [b, n, 3, h, w] of each column of a sheet."""
    first = slice(0, _SHEET_SCENES)
    shown = [name for name in (ONE, FULL, ORACLE, "copy nearest") if name in answers]
    depths = {"true depth": targets.depth, "depth of one call": answers[ONE].depth}
    pictures = {"given": known.rgb, "truth": targets.rgb} | {name: answers[name].rgb for name in shown}
    return {name: rgb[first] for name, rgb in pictures.items() if rgb is not None} | {
        name: torch.stack(
            [torch.stack([depth_picture(d, _SHEET_NEAR_M, _SHEET_FAR_M) for d in clip]) for clip in depth[first]]
        )
        for name, depth in depths.items()
        if depth is not None
    }


def _sheet(columns: dict[str, Tensor]) -> Tensor:
    scenes = min(len(pictures) for pictures in columns.values())
    return grid([[picture for pictures in columns.values() for picture in pictures[b]] for b in range(scenes)])
