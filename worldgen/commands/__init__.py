"""The commands and their options, as tyro reads them. Each runs the same function as the Python API."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from worldgen.commands.cameras import CameraTools
from worldgen.data.curation import Curation


@dataclass(frozen=True)
class Orbit:
    """Generate the orbit around what one image, or several with cameras, show; lift and export it."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """One image, or several that --cameras names."""
    output: Path
    """New folder for the results."""
    cameras: Path | None = None
    """transforms.json (nerfstudio) of the images; its other frames are rendered too and scored."""
    frames: int = 24
    """Length of the orbit, a full circle."""
    elevation_deg: float = 25.0
    """Degrees above the horizon a single image was taken from."""
    radius: float | None = None
    """Distance from a single image to what it shows, in metres (default: as the model sees it, not metric)."""
    fov_deg: float | None = None
    """Field of view of a single image over its shorter side (default: EXIF, else 55)."""
    views: Path | None = None
    """transforms.json whose cameras are rendered instead of an orbit."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    size_px: int | None = None
    """Side of the frames (default: what the model was trained at)."""
    steps: int | None = None
    """Sampling steps (default: the model's own, 20 of most)."""
    guidance: float | None = None
    """Guidance towards the given images; 1 = none (default: the model's own, 1.5 of most)."""
    solver: str = "euler"
    """euler, heun, ddim, ddpm, dpm++2m, unipc or consistency."""
    seed: int = 0
    model: str = "tiny"
    """Name of embedded weights, or a folder."""
    device: str = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Of the network's products; auto is bf16 where the device has such arithmetic: sooner, and nearly the same."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the output folder."""

    def run(self) -> None:
        """Check, generate, save, and say where."""
        from worldgen.models.world_model import WorldModel, pick_device
        from worldgen.pipelines.orbit import orbit
        from worldgen.runtime.atomic_dir import check_output

        check_output(self.output, self.overwrite)
        model = WorldModel.load(self.model, pick_device(self.device), self.precision)
        with _Bar() as bar:
            world = orbit(
                model, self.images, self.cameras, self.frames, self.seed, elevation_deg=self.elevation_deg,
                radius=self.radius, fov_deg=self.fov_deg, views=self.views, fit=self.fit, size_px=self.size_px,
                steps=self.steps, guidance=self.guidance, solver=self.solver, on_start=bar.start, on_step=bar.step,
            )  # fmt: skip
        world.save(self.output, self.overwrite)
        print(f"{len(world.clip)} frames, {len(world.points)} points, {len(world.mesh.faces)} triangles: {self.output}")
        if world.held_out is not None:
            s = world.held_out.scores
            print(
                f"{len(s['names'])} held-out views: PSNR {s['mean_psnr_db']:.2f} dB, SSIM {s['mean_ssim']:.3f}; "
                f"copy-nearest {s['mean_copy_nearest_psnr_db']:.2f} dB, {s['mean_copy_nearest_ssim']:.3f}"
            )


@dataclass(frozen=True)
class _Configured:
    """What every run is told."""

    config: tyro.conf.Positional[Path]
    """YAML file (see configs/)."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """section.key=value ..."""


@dataclass(frozen=True)
class Train(_Configured):
    """Train a model; continues from the run's own checkpoint."""

    def run(self) -> None:
        """Train to the end, or to the first interrupt."""
        from worldgen.training.engine.run import train

        train(self.config, self.overrides)


@dataclass(frozen=True)
class Average:
    """Make the model of a run with its weights averaged over a length chosen now; compare some by `worldgen evaluate
    orbit --models FOLDER FOLDER`."""

    run_folder: tyro.conf.Positional[Path]
    """Output folder of a run with train.averages."""
    length: float
    """Standard deviation of the time the average looks back to, as a share of the run (sigma_rel of Karras et al.)."""
    output: Path
    """New folder for the model."""

    def run(self) -> None:
        """Average, save, and say where."""
        from worldgen.training.engine.averages import average

        print(average(self.run_folder, self.length, self.output))


@dataclass(frozen=True)
class Blend:
    """Make a model between two of one network, such as one and what it became by training on; compare some by `worldgen
    evaluate orbit --models FOLDER FOLDER`."""

    first: tyro.conf.Positional[str]
    """Name of embedded weights, or a folder."""
    second: tyro.conf.Positional[str]
    """The other."""
    output: Path
    """New folder for the model."""
    share: float = 0.5
    """Of the second; 0 = the first, 1 = the second."""

    def run(self) -> None:
        """Blend, save, and say where."""
        from worldgen.training.blending import blend

        print(blend(self.first, self.second, self.share, self.output))


@dataclass(frozen=True)
class TrainCodec(_Configured):
    """Train a codec of images or videos with depth (configs/vae.yaml); continues from the run's own checkpoint."""

    def run(self) -> None:
        """Train to the end, or to the first interrupt."""
        from worldgen.training.codec.run import train_codec

        train_codec(self.config, self.overrides)


@dataclass(frozen=True)
class Plan(_Configured):
    """Say what a training run costs, before anything of it is allocated: parameters, memory, FLOPs, time."""

    device: str = "cpu"
    """What the run is planned for; the time is estimated where it is here."""

    def run(self) -> None:
        """Print the plan."""
        from worldgen.runtime.config import load
        from worldgen.training.config import RunConfig
        from worldgen.training.planning import describe

        print(describe(load(RunConfig, self.config, self.overrides), self.device))


@dataclass(frozen=True)
class _Asked:
    """What every evaluation is told."""

    output: Path
    """New folder for report.json, report.md and contact sheets."""
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

    def _run(self, evaluate: Callable[..., object]) -> None:
        """Load the models, evaluate, and print the report's tables."""
        from geometry.errors import InputError
        from worldgen.models.world_model import WorldModel, pick_device
        from worldgen.pipelines.novel_views import Sampling
        from worldgen.runtime.atomic_dir import check_output

        check_output(self.output, overwrite=False)
        names = [Path(name).name for name in self.models]
        if not names or len(set(names)) != len(names):
            raise InputError(f"models {list(self.models)}; expected at least one, each of another name")
        device = pick_device(self.device)
        first, *others = (WorldModel.load(model, device, self.precision) for model in self.models)
        sampling = Sampling.of(first, self.steps, self.guidance, seed=self.seed)
        with _Bar() as bar:
            evaluate(first, sampling, other_models=dict(zip(names[1:], others)), output=self.output, progress=bar.at)
        print((self.output / "report.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class _AskedOfScenes(_Asked):
    """What evaluations on scenes with exact truth are told besides."""

    scenes: int | None = None
    """Use only the first so many scenes, for a quick look."""
    consistency: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also measure whether new views agree with each other."""
    pose_scenes: int = 0
    """Also recover the new views' poses, in so many scenes: about a second and a half a view."""


@dataclass(frozen=True)
class EvaluateOrbit(_AskedOfScenes):
    """New views from 1, 2 and 4 images of held-out tabletops."""

    config: Path = Path("configs/evaluate_orbit.yaml")
    """The held-out set; figures compare on the same set only."""
    sampled: tuple[str, ...] = ("medium",)
    """Spreads to draw full samples on, which is nearly all the work; one network call is evaluated on all."""
    loop_scenes: int = 0
    """Also go once round so many scenes from one image."""

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from worldgen.evaluation.comparison import Geometry
        from worldgen.evaluation.sets.orbit import OrbitEvaluation, evaluate_orbit
        from worldgen.runtime.config import load

        geometry = Geometry(self.consistency, self.pose_scenes, self.loop_scenes)
        overrides = () if self.scenes is None else (f"scenes={self.scenes}",)
        config = load(OrbitEvaluation, self.config, overrides)
        self._run(
            lambda model, sampling, **rest: evaluate_orbit(
                model, config, sampling, sampled=self.sampled, geometry=geometry, **rest
            )
        )


@dataclass(frozen=True)
class EvaluateFamilies(_AskedOfScenes):
    """New views of held-out scenes of every family, moving ones included."""

    config: Path = Path("configs/evaluate_families.yaml")
    """The held-out sets; figures compare on the same sets only."""
    sampled: tuple[str, ...] = ()
    """Families to draw full samples on, which takes long; one network call is evaluated on all."""

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from worldgen.evaluation.comparison import Geometry
        from worldgen.evaluation.sets.families import FamiliesEvaluation, evaluate_families
        from worldgen.runtime.config import load

        geometry = Geometry(self.consistency, self.pose_scenes)
        overrides = () if self.scenes is None else (f"scenes={self.scenes}",)
        config = load(FamiliesEvaluation, self.config, overrides)
        self._run(
            lambda model, sampling, **rest: evaluate_families(
                model, config, sampling, sampled=self.sampled, geometry=geometry, **rest
            )
        )


@dataclass(frozen=True)
class EvaluateCaptures(_Asked):
    """Held-out views of real captures. Mind their licences before you pass sheets on."""

    sources: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files and folders: transforms.json, COLMAP, nuScenes, DDAD, RealEstate10K texts with videos."""
    given: tuple[int, ...] = (4, 8)
    """Numbers of images to give, spread over the capture."""
    most_views: int = 32
    """Held-out views of a capture to make at most."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also draw full samples, which takes long."""

    def run(self) -> None:
        """Evaluate, write the report and print its tables."""
        from geometry.errors import InputError
        from worldgen.evaluation.sets.captures import CapturesEvaluation, evaluate_captures

        if not self.sources:
            raise InputError("no captures; expected files or folders")

        def evaluate(model: Any, sampling: Any, **rest: Any) -> object:
            config = CapturesEvaluation(model.config.size_px, self.given, self.most_views, self.fit)
            return evaluate_captures(model, self.sources, config, sampling, full=self.full, **rest)

        self._run(evaluate)


@dataclass(frozen=True)
class Evaluate:
    """Measure models on what they have never seen, beside baselines."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[EvaluateOrbit, tyro.conf.subcommand("orbit")]
        | Annotated[EvaluateFamilies, tyro.conf.subcommand("families")]
        | Annotated[EvaluateCaptures, tyro.conf.subcommand("captures")]
    ]

    def run(self) -> None:
        """Run the evaluation asked for."""
        self.what.run()


@dataclass(frozen=True)
class Scenes:
    """Render procedural scenes to look at: contact sheets, videos with depth, and the scenes as animated GLB."""

    output: Path
    """New folder for the results."""
    families: tuple[str, ...] = ()
    """Some of tabletop, room, street, physics and texture_soup (default: all)."""
    seed: int = 0
    size_px: int = 128
    """Side of the frames."""
    frames: int = 36
    """Length of the videos, two seconds."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the output folder."""

    def run(self) -> None:
        """Render, save, and say where."""
        from worldgen.scenes.families.family import FAMILIES
        from worldgen.scenes.gallery import gallery

        families = list(self.families) or list(FAMILIES)
        with _Bar() as bar:
            gallery(families, self.output, self.seed, self.size_px, self.frames, self.overwrite, bar.at)
        print(f"{', '.join(families)}: {self.output}")


@dataclass(frozen=True)
class Curate:
    """Judge captures of posed images and videos, keep the good clips as shards, say what was dropped and why."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Files and folders: transforms.json, COLMAP, nuScenes, DDAD, RealEstate10K texts with videos."""
    output: Path
    """New folder for shards and report, or one that an interrupted run left."""
    curation: Annotated[Curation, tyro.conf.arg(name="")] = field(default_factory=Curation)

    def run(self) -> None:
        """Curate, and say what came of it."""
        from worldgen.data.curation import curate

        with _Bar() as bar:
            report = curate(self.sources, self.output, self.curation, bar.at)
        dropped = f"{report['images'] - report['kept']} images and {report['unreadable']} captures dropped"
        print(f"{report['clips']} clips of {report['kept']} images kept; {dropped}: {self.output / 'report.md'}")


class _Bar:
    """A progress bar whose length is known only once the work is planned."""

    def __enter__(self) -> "_Bar":
        from tqdm import tqdm

        self._bar = tqdm(total=0, unit="step", disable=not sys.stderr.isatty(), leave=False)
        return self

    def start(self, total: int) -> None:
        """Say how many steps there will be."""
        self._bar.reset(total)

    def step(self) -> None:
        """One more is done."""
        self._bar.update()

    def at(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def parse(
    arguments: list[str],
) -> Orbit | Train | Average | Blend | TrainCodec | Plan | Evaluate | Scenes | Curate | CameraTools:
    """The command asked for; prints help or the usage error and exits (0 or 2) otherwise."""
    return tyro.cli(
        Annotated[Orbit, tyro.conf.subcommand("orbit")]
        | Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Average, tyro.conf.subcommand("average")]
        | Annotated[Blend, tyro.conf.subcommand("blend")]
        | Annotated[TrainCodec, tyro.conf.subcommand("train-codec")]
        | Annotated[Plan, tyro.conf.subcommand("plan")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Scenes, tyro.conf.subcommand("scenes")]
        | Annotated[Curate, tyro.conf.subcommand("curate")]
        | Annotated[CameraTools, tyro.conf.subcommand("cameras")],
        prog="worldgen",
        args=arguments,
        description="A world model you steer with a camera and take apart as geometry.",
    )
