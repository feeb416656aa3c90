"""What each part of the model is worth: the same small run without it. `python -m benchmarks.ablations`.

Every arm trains `configs/ablation.yaml` with one thing changed, on the same scenes with the same seeds, and predicts
the same new views of held-out scenes, then those of cameras with focal lengths that training never had. Runs continue
where they were stopped; finished ones are only evaluated. Several processes may train different arms at once (--arms),
a last call then makes the table of all. With --budget-s every arm has as much time, and at most the configured steps:

    python -m benchmarks.ablations --config configs/mini.yaml --budget-s 240 --arms base "no PRoPE" ...
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.evaluation.baselines import row_mean
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.evaluation.metrics.intervals import interval
from worldgen.evaluation.sets.orbit import OrbitEvaluation, orbit_set
from worldgen.models.network.dit import DiTConfig
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import ONE_CALL, generate_views
from worldgen.runtime.config import load
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.run import train

BASE = "base"
FOVS_DEG = (25.0, 35.0, 45.0, 52.5, 60.0, 75.0, 90.0)  # training has 45 to 60
SEEN_THROUGH = (BASE, "no PRoPE", "no Plücker")


def arms(blocks: int = 1) -> dict[str, tuple[str, ...]]:
    """What each arm changes in a run whose network has so many blocks and that is not aligned."""
    return {
        BASE: (),
        "no PRoPE": ("model.network.prope=false",),
        "no Plücker": ("model.network.plucker=false",),
        "no cameras": ("model.network.prope=false", "model.network.plucker=false"),
        "no multi-view attention": (f"model.network.attention=[{', '.join(['frame'] * blocks)}]",),
        "no depth": ("train.depth_weight=0", "tasks.depth=0", "tasks.given_depth=0"),
        "consistency loss": ("train.consistency_weight=0.1",),
        "geometry alignment": ("train.alignment_weight=2",),
        # The same network that only ever sees the unknown as pure noise: it learns its mean and nothing to sample with.
        "regression": ("tasks.top=1.0", "tasks.independent=0", "tasks.unknown=0"),
    }


def folder(output: Path, arm: str) -> Path:
    """Where an arm's run is."""
    return output / arm.replace(" ", "-").replace("ü", "ue").lower()


def held_out(run: RunConfig, scenes: int) -> OrbitEvaluation:
    """The scenes arms are compared on, at the size the run trains."""
    return OrbitEvaluation("tabletop", 0, scenes, run.model.size_px, 2, (2,), 2, {"medium": 46.0})


def train_arm(config: Path, output: Path, arm: str, length: tuple[str, ...] = ()) -> None:
    """Train an arm to its end, unless it is there."""
    if not (folder(output, arm) / "model" / "config.json").exists():
        network = load(RunConfig, config).model.network
        assert isinstance(network, DiTConfig), f"ablations of a {type(network).__name__}"
        changes = arms(len(network.attention))[arm]
        # The base is without alignment, which is an arm, also where the configuration has it on.
        train(config, (f"output={folder(output, arm)}", "train.alignment_weight=0", *changes, *length))


def errors(model: WorldModel, clip: Clip) -> tuple[Tensor, Tensor]:
    """PSNR (dB) of the one-call prediction of two new views from two given ones, and its depth's relative error, by
    scene."""
    both = []
    for start in range(0, len(clip.rgb), 32):
        part = clip[start : start + 32]
        given = part.frames(slice(0, 2))
        given = Clip(given.rgb, torch.zeros_like(given.depth), given.cameras)
        new = generate_views(
            model, given, part.cameras[:, 2:], scene_scale_from_cameras(part.cameras), ONE_CALL
        ).frames(slice(2, None))
        truth = part.frames(slice(2, None))
        both.append((psnr(new.rgb, truth.rgb).mean(1), depth_errors(new.depth, truth.depth)[0].mean(1)))
    scores, off = zip(*both)
    return torch.cat(scores), torch.cat(off)


def through(fov_deg: float, held: OrbitEvaluation) -> Clip:
    """The held-out scenes from the same places, through another lens."""
    cameras = orbit_set(held, "medium").cameras
    scene = tabletop(held.seed, list(range(held.scenes)), held_out=True)
    return render(scene, Cameras.from_fov(cameras.world_from_camera, fov_deg, cameras.hw), held.supersample)


def by_focal_length(output: Path, arms: list[str], held: OrbitEvaluation) -> list[dict[str, Any]]:
    """A row a field of view: each arm's PSNR, and that of the row means of the given images, with intervals."""
    models = {arm: WorldModel.load(folder(output, arm) / "model") for arm in arms}
    rows = []
    for fov in FOVS_DEG:
        clip = through(fov, held)
        truth = clip.frames(slice(2, None))
        blind = psnr(row_mean(clip.frames(slice(0, 2)), truth.cameras), truth.rgb).mean(1)
        scores = {arm: errors(model, clip)[0] for arm, model in models.items()} | {"row means": blind}
        rows.append({"fov_deg": fov} | {arm: interval(score) for arm, score in scores.items()})
    return rows


def seconds(run: Path) -> float:
    """What a run's steps took by the clock: the median step times all, which other work on the machine hardly moves."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return median(line["seconds"] for line in lines) * lines[-1]["step"]


def compare(output: Path, arms: list[str], held: OrbitEvaluation) -> list[dict[str, Any]]:
    """A row an arm: its figures, and the difference to the base scene by scene, with 95% bootstrap intervals."""
    clip = orbit_set(held, "medium")
    found = {arm: errors(WorldModel.load(folder(output, arm) / "model"), clip) for arm in arms}
    return [
        {
            "arm": arm,
            "psnr_db": interval(score),
            "to_base_db": interval(score - found[BASE][0]),
            "abs_rel": interval(off),
            "abs_rel_to_base": interval(off - found[BASE][1]),
            "seconds": round(seconds(folder(output, arm))),
        }
        for arm, (score, off) in found.items()
    ]


def said(value: dict[str, float], digits: int, sign: str = "") -> str:
    """A mean with its interval."""
    mean, low, high = (f"{value[name]:{sign}.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def focal_table(rows: list[dict[str, Any]]) -> str:
    """PSNR (dB) by field of view as a Markdown table."""
    names = [name for name in rows[0] if name != "fov_deg"]
    lines = [f"| field of view | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row['fov_deg']:g}° | {' | '.join(said(row[name], 2) for name in names)} |" for row in rows]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| arm | PSNR dB | to the base | depth AbsRel | to the base | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        to_base = (
            ("", "") if row["arm"] == BASE else (said(row["to_base_db"], 2, "+"), said(row["abs_rel_to_base"], 3, "+"))
        )
        cells = [row["arm"], said(row["psnr_db"], 2), to_base[0], said(row["abs_rel"], 3), to_base[1], row["seconds"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    """Train the arms asked for, then compare all that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/ablation.yaml"))
    parser.add_argument("--output", type=Path, default=Path("out/ablations"))
    parser.add_argument("--arms", nargs="*", default=list(arms()), help=f"of {', '.join(arms())}")
    parser.add_argument("--steps", type=int, help="of every arm, instead of the configuration's")
    parser.add_argument("--budget-s", type=float, help="seconds of every arm, unless it has all its steps before")
    parser.add_argument("--scenes", type=int, default=256, help="held-out scenes (default 256)")
    arguments = parser.parse_args()
    if unknown := set(arguments.arms) - set(arms()):
        parser.error(f"arms {sorted(unknown)}; expected some of {', '.join(arms())}")
    try:
        held = held_out(load(RunConfig, arguments.config), arguments.scenes)
        lengths = {"train.steps": arguments.steps, "train.budget_s": arguments.budget_s}
        for arm in arguments.arms:
            length = tuple(f"{name}={value}" for name, value in lengths.items() if value is not None)
            train_arm(arguments.config, arguments.output, arm, length)
        ready = [arm for arm in arms() if (folder(arguments.output, arm) / "model" / "config.json").exists()]
        if BASE not in ready:
            return 0
        rows = compare(arguments.output, ready, held)
        lenses = by_focal_length(arguments.output, [arm for arm in SEEN_THROUGH if arm in ready], held)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    found = {"arms": rows, "focal_lengths": lenses}
    write_file(arguments.output / "ablations.json", json.dumps(found, indent=2).encode())
    print(f"{table(rows)}\n\n{focal_table(lenses)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
