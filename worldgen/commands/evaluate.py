"""`worldgen evaluate`: models measured on what they have never seen."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from worldgen.commands.options import Flag, Options, Output, required, without


@dataclass(frozen=True)
class EvaluationOptions(Options):
    """Options of every evaluation."""

    output: Output
    """New or empty folder for report.json, report.md and contact sheets."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--model"], metavar="MODEL [MODEL ...]")] = ("tiny",)
    """Names of embedded weights, or folders. Others stand beside the first with their differences scene by scene."""
    steps: Annotated[int | None, without("the first model's own, 20 of most", "INT")] = None
    """Of full samples."""
    guidance: Annotated[float | None, without("the first model's own, 1.5 of most", "FLOAT")] = None
    """Of full samples, towards the given images; 1 = none."""
    seed: int = 0
    """Of all noise."""
    device: str = "auto"
    """Where it computes, such as cpu or cuda; auto is a GPU where there is one."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Of the networks' products; auto is bf16 where the device has such arithmetic."""

    def _inputs(self) -> Sequence[Path | str]:
        """Files and folders that are read."""
        return self.models

    def _run(self, make_set: Callable[[Any], Any], full: Collection[str] | None, spatial: Any = None) -> None:
        """Load the models, evaluate them, and print the report's tables.

        make_set  gives the set for the first model
        full      parts on which full samples are drawn; None = all
        spatial   SpatialMetrics, or none
        """
        from geometry.errors import InputError
        from worldgen.evaluation.comparison import IMAGES_ONLY
        from worldgen.evaluation.run import REPORT, evaluate, write_report_files
        from worldgen.models.world_model import WorldModel
        from worldgen.pipelines.novel_views import Sampling
        from worldgen.runtime.atomic_dir import new_folder
        from worldgen.runtime.devices import pick_device

        names = [Path(name).name for name in self.models]
        if not names or len(set(names)) != len(names):
            raise InputError(f"models {list(self.models)}; expected at least one, each of another name")
        with new_folder(self.output, kind=REPORT, inputs=self._inputs()) as folder:
            device = pick_device(self.device)
            first, *others = (WorldModel.load(model, device, self.precision) for model in self.models)
            sampling = Sampling.of(first, self.steps, self.guidance, seed=self.seed)
            evaluation_set = make_set(first)
            if full is None:
                full = [part.name for part in evaluation_set.parts()]
            report = evaluate(
                evaluation_set, first, sampling, other_models=dict(zip(names[1:], others)), full=full,
                spatial=spatial or IMAGES_ONLY, progress=not self.quiet,
            )  # fmt: skip
            write_report_files(folder, report)
        print((self.output / "report.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SceneEvaluationOptions(EvaluationOptions):
    """Further options of evaluations on scenes with exact truth."""

    scenes: Annotated[int | None, without("all", "N")] = None
    """Use only the first N scenes, for a quick look."""
    consistency: Flag = False
    """Also measure whether new views agree with each other."""
    pose_scenes: Annotated[int, without("none", "N")] = 0
    """Also recover the poses of the new views in the first N scenes: about 1.5 s a view."""

    def _overrides(self) -> tuple[str, ...]:
        """What the options change in the set's file."""
        return () if self.scenes is None else (f"scenes={self.scenes}",)


@dataclass(frozen=True)
class EvaluateOrbit(SceneEvaluationOptions):
    """New views from 1, 2 and 4 images of held-out tabletops.

    In Python: worldgen.evaluation.run.evaluate, on an OrbitSet
    """

    config: Path = Path("evaluate_orbit")
    """The held-out set, a YAML file or the name of one in the package (also evaluate_orbit_128 and evaluate_orbit_256);
    figures compare on the same set only."""
    sampled: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[SPREAD ...]")] = ("medium",)
    """Spreads to draw full samples on, which takes long; one network call is evaluated on all. Without a name: none."""
    loop_scenes: Annotated[int, without("none", "N")] = 0
    """Also measure loop closure in the first N scenes: once round from one image."""

    def _inputs(self) -> Sequence[Path | str]:
        from worldgen.runtime.config import config_file

        return (config_file(self.config), *self.models)

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from worldgen.evaluation.comparison import SpatialMetrics
        from worldgen.evaluation.sets.orbit import OrbitSet
        from worldgen.runtime.config import load

        spatial = SpatialMetrics(self.consistency, self.pose_scenes, self.loop_scenes)
        evaluation_set = load(OrbitSet, self.config, self._overrides())
        self._run(lambda _: evaluation_set, self.sampled, spatial)


@dataclass(frozen=True)
class EvaluateFamilies(SceneEvaluationOptions):
    """New views of held-out scenes of every family, moving ones included.

    In Python: worldgen.evaluation.run.evaluate, on a FamiliesSet
    """

    config: Path = Path("evaluate_families")
    """The held-out sets, a YAML file or the name of one in the package; figures compare on the same sets only."""
    sampled: Annotated[tuple[str, ...], without("none", "[FAMILY ...]")] = ()
    """Families to draw full samples on, which takes long; one network call is evaluated on all."""

    def _inputs(self) -> Sequence[Path | str]:
        from worldgen.runtime.config import config_file

        return (config_file(self.config), *self.models)

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from worldgen.evaluation.comparison import SpatialMetrics
        from worldgen.evaluation.sets.families import FamiliesSet
        from worldgen.runtime.config import load

        evaluation_set = load(FamiliesSet, self.config, self._overrides())
        self._run(lambda _: evaluation_set, self.sampled, SpatialMetrics(self.consistency, self.pose_scenes))


@dataclass(frozen=True)
class EvaluateCaptures(EvaluationOptions):
    """Held-out views of real captures. Mind their licences before you pass sheets on.

    In Python: worldgen.evaluation.run.evaluate, on a CapturesSet
    """

    sources: Annotated[tyro.conf.Positional[tuple[Path, ...]], required("SOURCE")] = ()
    """Files and folders of any capture: transforms.json, COLMAP, LLFF, CO3D, nuScenes, RealEstate10K and others."""
    given: tuple[int, ...] = (4, 8)
    """Numbers of images to give, spread over the capture."""
    most_views: int = 32
    """Held-out views of a capture to make at most."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    full: Flag = False
    """Also draw full samples, which takes long."""

    def _inputs(self) -> Sequence[Path | str]:
        return (*self.sources, *self.models)

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from geometry.errors import InputError
        from worldgen.evaluation.sets.captures import CapturesConfig, CapturesSet

        if not self.sources:
            raise InputError("no captures; expected files or folders")

        def read(model: Any) -> CapturesSet:
            config = CapturesConfig(model.config.size_px, self.given, self.most_views, self.fit)
            return CapturesSet.read(config, self.sources)

        self._run(read, None if self.full else ())


@dataclass(frozen=True)
class Evaluate:
    """Evaluate models on held-out data, beside baselines."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[EvaluateOrbit, tyro.conf.subcommand("orbit")]
        | Annotated[EvaluateFamilies, tyro.conf.subcommand("families")]
        | Annotated[EvaluateCaptures, tyro.conf.subcommand("captures")]
    ]

    def run(self) -> None:
        """Run the chosen evaluation."""
        self.what.run()
