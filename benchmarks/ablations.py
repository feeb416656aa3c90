"""What each part of the model is worth: the same small run without it. `python -m benchmarks.ablations`.

Every arm trains `configs/ablation.yaml` with one thing changed, on the same scenes with the same seeds, and predicts
the same new views of held-out scenes, then those of cameras with focal lengths that training never had. Runs resume
where they were stopped; finished ones are only evaluated. Several processes may train different arms at once (--arms),
a last call then makes the table of all. With --budget-s every arm has as much time, and at most the configured steps:

    python -m benchmarks.ablations --config configs/mini.yaml --budget-s 240 --arms base "no PRoPE" ...

A second stage (`--config configs/fine.yaml`) has arms of its own: without its cost volume, look-up, or first stage.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from benchmarks.shared.views import predicted
from geometry.camera.cameras import Cameras
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import row_mean
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.evaluation.metrics.intervals import interval, paired_difference
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.network.dit import DiTConfig
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL
from worldgen.runtime.config import load
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.run import train

BASE = "base"
GIVEN = 2  # images of each scene
FOVS_DEG = (25.0, 35.0, 45.0, 52.5, 60.0, 75.0, 90.0)  # training has 45 to 60
WITH_LENSES = (BASE, "no PRoPE", "no Plücker")


def arms(blocks: int = 1) -> dict[str, tuple[str, ...]]:
    """What each arm changes in a run whose network has this many blocks and that is not aligned."""
    return {
        BASE: (),
        "no PRoPE": ("model.network.prope=false",),
        "no Plücker": ("model.network.plucker=false",),
        "no cameras": ("model.network.prope=false", "model.network.plucker=false"),
        "no multi-view attention": (f"model.network.attention=[{', '.join(['frame'] * blocks)}]",),
        "no depth": ("train.depth_weight=0", "tasks.depth=0", "tasks.given_depth=0"),
        "consistency loss": ("train.consistency_weight=0.1",),
        "geometry alignment": ("train.alignment_weight=2",),
        # The same network, with the unknown always given as pure noise: it learns the mean and cannot sample.
        "regression": ("tasks.top=1.0", "tasks.independent=0", "tasks.unknown=0"),
    }


# What each arm changes in a run of a second stage.
LOOK_UP_ARMS: dict[str, tuple[str, ...]] = {
    BASE: (),
    "no cost volume": ("model.network.without=[volume]",),
    "no blending": ("model.network.without=[blending]",),
    "no look-up": ("model.network.without=[look-up]",),
    "no coarse stage": ("model.coarse=null",),
}


def arms_of(config: Path) -> dict[str, tuple[str, ...]]:
    """The arms of a configuration's kind of network."""
    network = load(RunConfig, config).model.network
    return arms(len(network.attention)) if isinstance(network, DiTConfig) else LOOK_UP_ARMS


def folder(output: Path, arm: str) -> Path:
    """Where an arm's run is."""
    return output / arm.replace(" ", "-").replace("ü", "ue").lower()


def held_out(run: RunConfig, scenes: int) -> OrbitSet:
    """The scenes arms are compared on, at the size the run trains."""
    return OrbitSet("tabletop", 0, scenes, run.model.size_px, 2, (2,), 2, {"medium": 46.0})


def train_arm(config: Path, output: Path, arm: str, length: tuple[str, ...] = ()) -> None:
    """Train an arm to its end, unless its model is there."""
    if not (folder(output, arm) / "model" / "config.json").exists():
        changes = arms_of(config)[arm]
        # The base is without alignment, which is an arm, also where the configuration has it on.
        train(config, (f"output={folder(output, arm)}", "train.alignment_weight=0", *changes, *length))


def errors(model: WorldModel, clip: Clip) -> tuple[Tensor, Tensor]:
    """PSNR (dB) of the one-call prediction of two new views from two given ones, and its depth's relative error, by
    scene."""
    new, truth = predicted(model, ONE_CALL, clip, GIVEN, 32), clip.frames(slice(GIVEN, None))
    return psnr(new.rgb, truth.rgb).mean(1), depth_errors(new.depth, truth.depth)[0].mean(1)


def through(fov_deg: float, held: OrbitSet) -> Clip:
    """The held-out scenes from the same places, through another lens."""
    cameras = held.clip("medium").cameras
    scene = tabletop(held.seed, list(range(held.scenes)), held_out=True)
    return render(scene, Cameras.from_fov(cameras.world_from_camera, fov_deg, cameras.hw), held.supersample)


def seconds(run: Path) -> float:
    """What a run's steps took by the clock: the median step times all, which other work on the machine hardly moves."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return median(line["seconds"] for line in lines) * lines[-1]["step"]


def compare(output: Path, arms: Sequence[str], held: OrbitSet) -> Table:
    """A row an arm: its figures, and the difference to the base scene by scene, with 95% bootstrap intervals."""
    clip = held.clip("medium")
    found = {arm: errors(WorldModel.load(folder(output, arm) / "model"), clip) for arm in arms}
    base_score, base_off = found[BASE]
    rows = []
    for arm, (score, off) in found.items():
        to_base, off_to_base = paired_difference(score, base_score), paired_difference(off, base_off)
        spent = round(seconds(folder(output, arm)))
        rows.append((arm, interval(score), to_base, interval(off), off_to_base, spent))
    columns = {
        "arm": "", "PSNR dB": ".2f", "to the base dB": "+.2f", "depth AbsRel": ".3f", "AbsRel to the base": "+.3f",
        "seconds": "",
    }  # fmt: skip
    return Table.of(columns, rows, "Arms")


def by_focal_length(output: Path, arms: Sequence[str], held: OrbitSet) -> Table:
    """A row a field of view: each arm's PSNR, and that of the row means of the given images, with intervals."""
    models = {arm: WorldModel.load(folder(output, arm) / "model") for arm in arms}
    rows = []
    for fov in FOVS_DEG:
        clip = through(fov, held)
        truth = clip.frames(slice(GIVEN, None))
        blind = psnr(row_mean(clip.frames(slice(0, GIVEN)), truth.cameras), truth.rgb).mean(1)
        scores = [*(errors(model, clip)[0] for model in models.values()), blind]
        rows.append((fov, *map(interval, scores)))
    return Table.of({"field of view °": "g"} | dict.fromkeys((*arms, "row means"), ".2f"), rows, "PSNR dB by lens")


@reporting_errors
def main() -> int:
    """Train the requested arms, then compare all that are there."""
    parser = command(__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/ablation.yaml"))
    parser.add_argument("--output", type=Path, default=Path("out/ablations"))
    parser.add_argument("--arms", nargs="*", help=f"some of {', '.join({**arms(), **LOOK_UP_ARMS})} (default: all)")
    parser.add_argument("--steps", type=int, help="of every arm, instead of the configuration's")
    parser.add_argument("--budget-s", type=float, help="seconds of every arm, unless it has all its steps before")
    parser.add_argument("--scenes", type=int, default=256, help="held-out scenes (default 256)")
    arguments = parser.parse_args()
    every = list(arms_of(arguments.config))
    chosen = every if arguments.arms is None else arguments.arms
    if unknown := set(chosen) - set(every):
        parser.error(f"arms {sorted(unknown)}; expected some of {', '.join(every)}")
    held = held_out(load(RunConfig, arguments.config), arguments.scenes)
    lengths = {"train.steps": arguments.steps, "train.budget_s": arguments.budget_s}
    for arm in chosen:
        length = tuple(f"{name}={value}" for name, value in lengths.items() if value is not None)
        train_arm(arguments.config, arguments.output, arm, length)
    ready = [arm for arm in every if (folder(arguments.output, arm) / "model" / "config.json").exists()]
    if BASE not in ready:
        return 0
    tables = [compare(arguments.output, ready, held)]
    tables.append(by_focal_length(arguments.output, [arm for arm in WITH_LENSES if arm in ready], held))
    notes = [
        f"{held.scenes} held-out tabletops of {held.size_px} px: two new views from two given ones in one call, with "
        "95% bootstrap intervals over scenes. Differences are scene by scene. Seconds: the median step times all.",
        "Trained with 45 to 60 degrees of view.",
    ]
    report = Report.now("What each part of the model is worth", tables, notes)
    return publish(report, arguments.report, arguments.output / "report.json")


if __name__ == "__main__":
    sys.exit(main())
