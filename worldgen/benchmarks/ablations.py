"""What each part of the model is worth: the same small run without it. `python -m worldgen.benchmarks.ablations`.

Every arm trains `configs/ablation.yaml` with one thing changed, on the same scenes with the same seeds, and predicts
the same new views of held-out scenes. Runs continue where they were stopped; finished ones are only evaluated. Several
processes may train different arms at once (--arms), a last call then makes the table of all.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.clip import Clip
from worldgen.config import load
from worldgen.evaluation.image import depth_errors, psnr
from worldgen.evaluation.intervals import interval
from worldgen.evaluation.orbit import OrbitEvaluation, orbit_set
from worldgen.gauge import batch_scale
from worldgen.model import WorldModel
from worldgen.pipelines.views import ONE_CALL, generate_views
from worldgen.training.config import RunConfig
from worldgen.training.run import train

BASE = "base"
ARMS: dict[str, tuple[str, ...]] = {
    BASE: (),
    "no PRoPE": ("model.network.prope=false",),
    "no Plücker": ("model.network.plucker=false",),
    "no cameras": ("model.network.prope=false", "model.network.plucker=false"),
    "no multi-view attention": ("model.network.attention=[frame, frame, frame, frame, frame]",),
    "no depth": ("train.depth_weight=0", "tasks.depth=0", "tasks.given_depth=0"),
    "consistency loss": ("train.consistency_weight=0.1",),
}
HELD_OUT = OrbitEvaluation("tabletop", 0, 256, 32, 2, (2,), 2, {"medium": 46.0})


def folder(output: Path, arm: str) -> Path:
    """Where an arm's run is."""
    return output / arm.replace(" ", "-").replace("ü", "ue").lower()


def train_arm(config: Path, output: Path, arm: str, steps: int | None) -> None:
    """Train an arm to its end, unless it is there."""
    shorter = () if steps is None else (f"train.steps={steps}",)
    if not (folder(output, arm) / "model" / "config.json").exists():
        train(config, (f"output={folder(output, arm)}", *ARMS[arm], *shorter))


def errors(model: WorldModel, clip: Clip) -> tuple[Tensor, Tensor]:
    """PSNR (dB) of the one-call prediction of two new views from two given ones, and its depth's relative error, by
    scene."""
    both = []
    for start in range(0, len(clip.rgb), 32):
        part = clip[start : start + 32]
        given = part.frames(slice(0, 2))
        given = Clip(given.rgb, torch.zeros_like(given.depth), given.cameras)
        new = generate_views(model, given, part.cameras[:, 2:], batch_scale(part.cameras), ONE_CALL).frames(
            slice(2, None)
        )
        truth = part.frames(slice(2, None))
        both.append((psnr(new.rgb, truth.rgb).mean(1), depth_errors(new.depth, truth.depth)[0].mean(1)))
    scores, off = zip(*both)
    return torch.cat(scores), torch.cat(off)


def seconds(run: Path) -> float:
    """What a run's steps took by the clock: the median step times all, which other work on the machine hardly moves."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return median(line["seconds"] for line in lines) * lines[-1]["step"]


def compare(output: Path, arms: list[str]) -> list[dict[str, Any]]:
    """A row an arm: its figures, and the difference to the base scene by scene, with 95% bootstrap intervals."""
    clip = orbit_set(HELD_OUT, "medium")
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


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""

    def said(value: dict[str, float], digits: int, sign: str = "") -> str:
        mean, low, high = (f"{value[name]:{sign}.{digits}f}" for name in ("mean", "low", "high"))
        return f"{mean} [{low}, {high}]"

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
    parser.add_argument("--arms", nargs="*", default=list(ARMS), help=f"of {', '.join(ARMS)}")
    parser.add_argument("--steps", type=int, help="train shorter than the configuration says")
    arguments = parser.parse_args()
    if unknown := set(arguments.arms) - set(ARMS):
        parser.error(f"arms {sorted(unknown)}; expected some of {', '.join(ARMS)}")
    try:
        load(RunConfig, arguments.config)
        for arm in arguments.arms:
            train_arm(arguments.config, arguments.output, arm, arguments.steps)
        ready = [arm for arm in ARMS if (folder(arguments.output, arm) / "model" / "config.json").exists()]
        if BASE not in ready:
            return 0
        rows = compare(arguments.output, ready)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    write_file(arguments.output / "ablations.json", json.dumps(rows, indent=2).encode())
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
