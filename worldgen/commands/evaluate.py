"""`worldgen evaluate`: models measured on what they have never seen."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from worldgen.commands.progress import ProgressBar


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of every evaluation."""

    output: Path
    """New or empty folder for report.json, report.md and contact sheets."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--model"])] = ("tiny",)
    """Names of embedded weights, or folders. The first is evaluated; further ones, for example its ablations, stand
    beside it with their differences scene by scene."""
    steps: int | None = None
    """Of full samples (default: the first model's own, 20 of most)."""
    guidance: float | None = None
    """Of full samples, towards the given images; 1 = none (default: the first model's own, 1.5 of most)."""
    seed: int = 0
    device: str = "auto"
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
            with ProgressBar() as bar:
                report = evaluate(
                    evaluation_set, first, sampling, other_models=dict(zip(names[1:], others)), full=full,
                    spatial=spatial or IMAGES_ONLY, progress=bar.at,
                )  # fmt: skip
            write_report_files(folder, report)
        print((self.output / "report.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SceneEvaluationOptions(EvaluationOptions):
    """Further options of evaluations on scenes with exact truth."""

    scenes: int | None = None
    """Use only the first N scenes, for a quick look."""
    consistency: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also measure whether new views agree with each other."""
    pose_scenes: int = 0
    """Also recover the poses of the new views in the first N scenes: about 1.5 s a view."""

    def _overrides(self) -> tuple[str, ...]:
        """What the options change in the set's file."""
        return () if self.scenes is None else (f"scenes={self.scenes}",)


@dataclass(frozen=True)
class EvaluateOrbit(SceneEvaluationOptions):
    """New views from 1, 2 and 4 images of held-out tabletops.

    In Python: worldgen.evaluation.run.evaluate, on an OrbitSet
    """

    config: Path = Path("configs/evaluate_orbit.yaml")
    """The held-out set; figures compare on the same set only."""
    sampled: tuple[str, ...] = ("medium",)
    """Spreads to draw full samples on, which is nearly all the work; one network call is evaluated on all."""
    loop_scenes: int = 0
    """Also measure loop closure in the first N scenes: once round from one image."""

    def _inputs(self) -> Sequence[Path | str]:
        return (self.config, *self.models)

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

    config: Path = Path("configs/evaluate_families.yaml")
    """The held-out sets; figures compare on the same sets only."""
    sampled: tuple[str, ...] = ()
    """Families to draw full samples on, which takes long; one network call is evaluated on all."""

    def _inputs(self) -> Sequence[Path | str]:
        return (self.config, *self.models)

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

    sources: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files and folders of any capture: transforms.json, COLMAP, LLFF, CO3D, nuScenes, RealEstate10K and others."""
    given: tuple[int, ...] = (4, 8)
    """Numbers of images to give, spread over the capture."""
    most_views: int = 32
    """Held-out views of a capture to make at most."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
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
