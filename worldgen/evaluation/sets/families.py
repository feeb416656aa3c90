"""`worldgen evaluate families`: held-out scenes of every family, recorded by the cameras that suit them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from worldgen.evaluation.report import write_report
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.atomic_dir import check_output
from worldgen.runtime.config import digest
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import FAMILIES, draw, views
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Scene


@dataclass(frozen=True)
class FamiliesEvaluation:
    """Held-out sets and what is asked of them (`configs/evaluate_families.yaml`).

    families       of scenes, each a set of its own
    seed           of the series of held-out scenes, which training never draws from
    scenes         a family
    supersample    rays per pixel and axis
    frames, fps    of the clips that `worldgen.scenes.cameras.sampling.views` videos: every frame at its own time
    given          numbers of known images to evaluate with; the targets are the same for each
    given_frames   the clip's frames in the order in which they are given
    target_frames  the clip's frames that are asked for
    """

    families: tuple[str, ...]
    seed: int
    scenes: int
    size_px: int
    supersample: int
    frames: int
    fps: float
    given: tuple[int, ...]
    given_frames: tuple[int, ...]
    target_frames: tuple[int, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families or len(set(self.families)) != len(self.families):
            raise InputError(f"families {list(self.families)}; expected some of {', '.join(FAMILIES)}, each once")
        if min(self.scenes, self.size_px, self.supersample, *self.given, len(self.given)) < 1 or not self.fps > 0:
            raise InputError(
                f"{self.scenes} scenes with {list(self.given)} given images of {self.size_px} px, {self.supersample} "
                f"rays a pixel and axis, {self.fps} frames a second; expected at least 1 of each"
            )
        used = [*self.given_frames, *self.target_frames]
        if (
            max(self.given) > len(self.given_frames)
            or not self.target_frames
            or len(set(used)) != len(used)
            or not set(used) <= set(range(self.frames))
        ):
            raise InputError(
                f"frames {list(self.given_frames)} given and {list(self.target_frames)} asked for of {self.frames}; "
                f"expected different ones below {self.frames}, at least {max(self.given)} given and 1 asked for"
            )

    @property
    def sha256(self) -> str:
        """The hash of the parsed values: figures compare only where it is the same."""
        return digest(self)


def family_set(config: FamiliesEvaluation, family: str) -> tuple[Scene, Clip]:
    """The scenes of one family and their clips [scenes, frames], each frame at its own time, rendered on the CPU.

    A scene and its cameras do not depend on how many others there are.
    """
    numbers = list(range(config.scenes))
    scene = draw(family, config.seed, numbers, held_out=True)
    shot = ClipSpec(config.frames, config.fps, (config.size_px, config.size_px))
    cameras = views(family, scene, config.seed, numbers, True, shot)
    return scene, render(scene, cameras, config.supersample)


def evaluate_families(
    model: WorldModel,
    config: FamiliesEvaluation,
    sampling: Sampling,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sampled: tuple[str, ...] = (),
    other_models: Mapping[str, WorldModel] | None = None,
    geometry: Geometry = IMAGES_ONLY,
) -> dict[str, Any]:
    """Every figure of a model and of the baselines beside it, family by family, as plain data; written to `output`.

    sampling  of full samples; the other prediction is one call of the network, the posterior mean
    progress  called with the sampling steps done and all there will be
    sampled   the families on which full samples are drawn, which takes long
    rivals    further models on the same scenes, by name, with their paired differences to the first
    geometry  further figures, without loops: rooms and streets have no way round

    Raises InputError when the folder exists, loops are asked for, or a model does not fit the sets.
    """
    other_models = other_models or {}
    if geometry.loop_scenes:
        raise InputError(f"{geometry.loop_scenes} loops of scenes of any family; expected 0, loops are of tabletops")
    check_fits(
        {model.config.name: model, **other_models}, config.size_px, max(config.given) + len(config.target_frames)
    )
    check_sampled(sampled, list(config.families), "family")
    if output is not None:
        check_output(output, overwrite=False)
    total = sum(
        steps(config.scenes, len(config.given), 1 + len(other_models), sampling, family in sampled)
        for family in config.families
    )
    counter = Counter(total, progress)
    families, timings, sheets = {}, {}, {}
    for family in config.families:
        scene, clip = family_set(config, family)
        near_far = FAMILIES[family].near_far_m
        recorded = Recorded(scene, config.supersample)
        part = Part(clip, config.given_frames, config.target_frames, config.given, near_far, recorded)
        contest = Comparison.of(model, other_models, sampling, family in sampled, config.seed)
        outcome = compare(part, contest, counter, geometry)
        families[family] = {"sheet_columns": outcome.columns, "given": outcome.cells, **outcome.spatial}
        timings[family], sheets[family] = outcome.timings, outcome.sheet
    report = {"evaluation": "families", **identity(model, other_models, sampling, config), "families": families}
    if output is not None:
        write_report(output, report, machine(model) | {"seconds_per_clip_and_step": timings}, sheets)
    return report
