"""A student beside its teacher: `python -m benchmarks.student --student tiny-4 --output out/student`.

64 held-out tabletops of the orbit evaluation, two new views from two given images, all from the same noise. The
teacher as it is meant to be sampled is what the student was taught; beside the student stand the teacher in as few
calls, and in as few steps with guidance, which is twice the calls.

to the teacher  PSNR between a sample and the teacher's full one: what distillation is about
sharpness       mean absolute difference of neighboring pixels, as a share of the truth's: few steps without
                distillation blur, which raises PSNR to the truth

Exits with 1 where the student is not nearer to the teacher than the teacher's own few steps, or more than 0.4 dB below
its full sample.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.io.images import write_png
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.evaluation.metrics.intervals import interval, paired_difference
from worldgen.evaluation.sets.orbit import OrbitEvaluation, orbit_set
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.runtime.atomic_dir import check_output, new_folder
from worldgen.runtime.config import load
from worldgen.runtime.contact_sheet import grid

GIVEN, SHOWN, AT_ONCE = 2, 8, 16
TARGET_DB = 0.4


class Sampled(NamedTuple):
    """New views [scenes, targets] of a contestant, its calls of the network and seconds a scene."""

    clip: Clip
    calls: int
    seconds: float


def contestants(student: WorldModel, teacher: WorldModel) -> dict[str, tuple[WorldModel, Sampling]]:
    """Who samples how; the teacher's full sample is the first."""
    few, full = Sampling.of(student), Sampling.of(teacher)
    return {
        f"teacher, {full.steps} steps, guided": (teacher, full),
        f"student, {few.steps} steps": (student, few),
        f"teacher, {few.steps} steps": (teacher, Sampling(few.steps, 1.0)),
        f"teacher, {few.steps} steps, guided": (teacher, Sampling(few.steps, full.guidance)),
        f"teacher, {full.steps} steps": (teacher, Sampling(full.steps, 1.0)),
    }


def sampled(model: WorldModel, sampling: Sampling, truth: Clip) -> Sampled:
    """The clips' last frames from their first `GIVEN` images."""
    parts, began = [], time.process_time()
    for start in range(0, len(truth.rgb), AT_ONCE):
        part = truth[start : start + AT_ONCE]
        given = part.frames(slice(0, GIVEN))
        given = Clip(given.rgb, torch.zeros_like(given.depth), given.cameras)
        made = generate_views(model, given, part.cameras[:, GIVEN:], scene_scale_from_cameras(part.cameras), sampling)
        parts.append(made.frames(slice(GIVEN, None)))
    seconds = (time.process_time() - began) / len(truth.rgb)
    rgb, depth = (torch.cat([getattr(part, name) for part in parts]) for name in ("rgb", "depth"))
    return Sampled(Clip(rgb, depth, truth.cameras[:, GIVEN:]), sampling.steps * (1 + (sampling.guidance != 1)), seconds)


def sharpness(rgb: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b"]:
    """Mean absolute difference of neighbors, by clip."""
    across, down = rgb.diff(dim=-1).abs(), rgb.diff(dim=-2).abs()
    return (across.flatten(1).mean(1) + down.flatten(1).mean(1)) / 2


def table(made: dict[str, Sampled], truth: Clip) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    """The figures as Markdown; by contestant and scene, PSNR to the truth and to the first contestant."""
    full = next(iter(made.values()))
    to_truth = {name: psnr(one.clip.rgb, truth.rgb).mean(1) for name, one in made.items()}
    to_full = {name: psnr(one.clip.rgb, full.clip.rgb).mean(1) for name, one in made.items()}
    base = to_truth[next(iter(made))]
    lines = [
        "| | calls | PSNR dB | to the full sample's | to the teacher dB | sharpness | AbsRel | CPU s a scene |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in made.items():
        first = one is full
        sharp = sharpness(one.clip.rgb) / sharpness(truth.rgb)
        depth = depth_errors(one.clip.depth, truth.depth)[0].mean(1)
        cells = [
            name, str(one.calls), _said(interval(to_truth[name]), 2),
            "" if first else _said(paired_difference(to_truth[name], base), 2, "+"),
            "" if first else _said(interval(to_full[name]), 2),
            f"{float(sharp.mean()):.2f}", f"{float(depth.nanmean()):.3f}", f"{one.seconds:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines), to_truth, to_full


def _said(value: dict[str, float | int | None], digits: int, sign: str = "") -> str:
    mean, low, high = (f"{value[name]:{sign}.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def main() -> int:
    """Sample, print the table, write it and a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="tiny-4", help="embedded name or folder")
    parser.add_argument("--teacher", default="tiny", help="embedded name or folder")
    parser.add_argument("--config", type=Path, default=Path("configs/evaluate_orbit.yaml"), help="the held-out set")
    parser.add_argument("--scenes", type=int, help="use only the first so many scenes")
    parser.add_argument("--output", type=Path, required=True, help="new folder for report.md and sheet.png")
    arguments = parser.parse_args()
    try:
        check_output(arguments.output, overwrite=False)
        config = load(OrbitEvaluation, arguments.config)
        config = replace(config, scenes=arguments.scenes or config.scenes)
        who = contestants(WorldModel.load(arguments.student), WorldModel.load(arguments.teacher))
        clip = orbit_set(config, "medium")
        # The last frames are the targets, whatever the numbers given.
        chosen = [*range(GIVEN), *range(clip.rgb.shape[1] - config.targets, clip.rgb.shape[1])]
        truth = clip.frames(chosen)
        made = {name: sampled(model, sampling, truth) for name, (model, sampling) in who.items()}
        new = truth.frames(slice(GIVEN, None))
        text, to_truth, to_full = table(made, new)
        first, student, few, *_ = made
        rows = [
            [*truth.rgb[b], *(image for name in (first, student, few) for image in made[name].clip.rgb[b])]
            for b in range(min(SHOWN, len(truth.rgb)))
        ]
        with new_folder(arguments.output, overwrite=False) as folder:
            (folder / "report.md").write_text(text + "\n", encoding="utf-8")
            write_png(folder / "sheet.png", grid(rows))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(text)
    lost = paired_difference(to_truth[student], to_truth[first])["mean"]
    nearer = paired_difference(to_full[student], to_full[few])["low"]
    return int(lost is None or nearer is None or lost < -TARGET_DB or nearer <= 0)


if __name__ == "__main__":
    sys.exit(main())
