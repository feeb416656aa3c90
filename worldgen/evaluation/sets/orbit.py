"""`worldgen evaluate orbit`: a few images of held-out scenes in, new views and depth out, against the exact truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.errors import InputError
from worldgen.core.clip import Clip
from worldgen.evaluation.comparison import (
    IMAGES_ONLY,
    Comparison,
    Counter,
    Geometry,
    Part,
    check_fits,
    check_sampled,
    compare,
    identity,
    machine,
    steps,
)
from worldgen.evaluation.metrics.control import Recorded
from worldgen.evaluation.metrics.loops import loop_figures, loop_steps
from worldgen.evaluation.report import write_report
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.atomic_dir import check_output
from worldgen.runtime.config import digest
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render


@dataclass(frozen=True)
class OrbitEvaluation:
    """A held-out set and what is asked of it (`configs/evaluate_orbit.yaml`).

    seed         of the series of held-out scenes, which training never draws from
    supersample  rays per pixel and axis
    given        numbers of known images to evaluate with; the targets are the same for each
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
                f"{self.scenes} scenes with {list(self.given)} given and {self.targets} target images of "
                f"{self.size_px} px, {self.supersample} rays a pixel and axis; expected at least 1 of each"
            )
        wrong = [name for name in self.spreads_deg if not name.isidentifier()]
        if wrong or not self.spreads_deg:
            raise InputError(f"spreads named {wrong or 'not at all'}; expected plain words, which name files")

    @property
    def sha256(self) -> str:
        """The hash of the parsed values: figures compare only where it is the same."""
        return digest(self)


def orbit_set(config: OrbitEvaluation, spread: str) -> Clip:
    """The frames [scenes, max(given) + targets] of one spread: the first k are given, the last are the targets.

    Each scene's cameras come from streams of its own for (scene, spread, role), so that a larger `given`, more scenes
    or another spread at the end of the list leave all other cameras as they were. Rendered on the CPU, whatever device
    is evaluated, so that the set is the same.
    """
    place = 1 + list(config.spreads_deg).index(spread)  # 0 would be the scene's own stream
    per_scene, per_frame = [], []
    for scene in range(config.scenes):
        given, targets = (stream(Stream.HELD_OUT_SCENES, config.seed, scene, place, role) for role in (0, 1))
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
    other_models: Mapping[str, WorldModel] | None = None,
    geometry: Geometry = IMAGES_ONLY,
) -> dict[str, Any]:
    """Every figure of a model and of the baselines beside it, as plain data; written to the new folder `output`.

    sampling  of the full sample; the other prediction is one call of the network, the posterior mean
    progress  called with the sampling steps done and all there will be
    sampled   the spreads on which full samples are drawn, which is nearly all the work (default all)
    rivals    further models on the same scenes, by name, with their paired differences to the first
    geometry  further figures; loops start from the first given images of the first spread

    Raises InputError when the folder exists, or a model does not fit the set.
    """
    chosen, other_models = tuple(config.spreads_deg) if sampled is None else sampled, other_models or {}
    frames = max(config.given) + config.targets
    check_fits({model.config.name: model, **other_models}, config.size_px, frames)
    check_sampled(chosen, list(config.spreads_deg), "spread")
    if output is not None:
        check_output(output, overwrite=False)
    total = sum(
        steps(config.scenes, len(config.given), 1 + len(other_models), sampling, spread in chosen)
        for spread in config.spreads_deg
    )
    loops = Comparison.of(model, other_models, sampling, bool(chosen), config.seed)
    total += loop_steps(1 + len(other_models), loops.samplings) * bool(geometry.loop_scenes)
    counter = Counter(total, progress)
    scenes = Recorded(tabletop(config.seed, list(range(config.scenes)), held_out=True), config.supersample)
    order, targets = tuple(range(max(config.given))), tuple(range(frames))[-config.targets :]
    report = {"evaluation": "orbit", **identity(model, other_models, sampling, config)}
    spreads, timings, sheets = {}, {}, {}
    for spread, half_angle_deg in config.spreads_deg.items():
        part = Part(orbit_set(config, spread), order, targets, config.given, recorded=scenes)
        contest = Comparison.of(model, other_models, sampling, spread in chosen, config.seed)
        outcome = compare(part, contest, counter, geometry)
        spreads[spread] = {
            "half_angle_deg": half_angle_deg,
            "sheet_columns": outcome.columns,
            "given": outcome.cells,
            **outcome.spatial,
        }
        timings[spread], sheets[spread] = outcome.timings, outcome.sheet
        if geometry.loop_scenes and "loops" not in report:
            first = part.clip.cameras[: geometry.loop_scenes, 0]
            report["loops"], image = loop_figures(loops.entrants(), scenes, first, config.seed, counter)
            sheets["loops"] = image
    report |= {"spreads": spreads}
    if output is not None:
        write_report(output, report, machine(model) | {"seconds_per_clip_and_step": timings}, sheets)
    return report
