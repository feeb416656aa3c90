"""A student beside its teacher: `python -m benchmarks.student --student tiny-4 --output out/student`.

64 held-out tabletops of the orbit evaluation, two new views from two given images, all from the same noise. The
full sample of the teacher is what the student was trained on; beside the student stand the teacher in as few calls,
and in as few steps with guidance, which is twice the calls.

to the teacher  PSNR between a sample and the teacher's full one: what distillation is about
sharpness       mean absolute difference of neighboring pixels, as a share of the truth's: few steps without
                distillation blur, which raises PSNR to the truth

Exits with 1 where the student is not nearer to the teacher than the teacher's own few steps, or more than 0.4 dB below
its full sample.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from benchmarks.shared.views import predicted
from geometry.io.images import write_png
from geometry.shapes import Float
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.evaluation.metrics.intervals import interval, paired_difference
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
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
    """Models and how they are sampled; the teacher's full sample is the first."""
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
    began = time.process_time()
    clip = predicted(model, sampling, truth, GIVEN, AT_ONCE)
    seconds = (time.process_time() - began) / len(truth.rgb)
    return Sampled(clip, sampling.steps * (1 + (sampling.guidance != 1)), seconds)


def sharpness(rgb: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b"]:
    """Mean absolute difference of neighbors, by clip."""
    across, down = rgb.diff(dim=-1).abs(), rgb.diff(dim=-2).abs()
    return (across.flatten(1).mean(1) + down.flatten(1).mean(1)) / 2


@dataclass(frozen=True)
class Figures:
    """PSNR (dB) by contestant and scene: to the truth, and to the first contestant's images; and the table of both."""

    to_truth: dict[str, Tensor]
    to_full: dict[str, Tensor]
    table: Table


def figures(made: dict[str, Sampled], truth: Clip) -> Figures:
    """What is measured of every contestant; the first is the teacher's full sample."""
    full = next(iter(made.values()))
    to_truth = {name: psnr(one.clip.rgb, truth.rgb).mean(1) for name, one in made.items()}
    to_full = {name: psnr(one.clip.rgb, full.clip.rgb).mean(1) for name, one in made.items()}
    base = to_truth[next(iter(made))]
    rows = []
    for name, one in made.items():
        gain = None if one is full else paired_difference(to_truth[name], base)
        near = None if one is full else interval(to_full[name])
        sharp = float((sharpness(one.clip.rgb) / sharpness(truth.rgb)).mean())
        depth = float(depth_errors(one.clip.depth, truth.depth)[0].mean(1).nanmean())
        rows.append((name, one.calls, interval(to_truth[name]), gain, near, sharp, depth, one.seconds))
    columns = {
        "sampled": "", "calls": "", "PSNR dB": ".2f", "to the full sample's": "+.2f", "to the teacher dB": ".2f",
        "sharpness": ".2f", "AbsRel": ".3f", "CPU s a scene": ".2f",
    }  # fmt: skip
    return Figures(to_truth, to_full, Table.of(columns, rows))


@reporting_errors
def main() -> int:
    """Sample, publish the table, write it and a sheet."""
    parser = command(__doc__)
    parser.add_argument("--student", default="tiny-4", help="embedded name or folder")
    parser.add_argument("--teacher", default="tiny", help="embedded name or folder")
    parser.add_argument("--config", type=Path, default=Path("configs/evaluate_orbit.yaml"), help="the held-out set")
    parser.add_argument("--scenes", type=int, help="use only this many scenes, the first ones")
    parser.add_argument("--output", type=Path, required=True, help="new folder for report.json and sheet.png")
    arguments = parser.parse_args()
    check_output(arguments.output, overwrite=False)
    held_out = load(OrbitSet, arguments.config)
    held_out = replace(held_out, scenes=arguments.scenes or held_out.scenes)
    models = contestants(WorldModel.load(arguments.student), WorldModel.load(arguments.teacher))
    clip = held_out.clip("medium")
    # The last frames are the targets, whatever the numbers given.
    frames = clip.rgb.shape[1]
    truth = clip.frames([*range(GIVEN), *range(frames - held_out.targets, frames)])
    made = {name: sampled(model, sampling, truth) for name, (model, sampling) in models.items()}
    found = figures(made, truth.frames(slice(GIVEN, None)))
    first, student, few, *_ = made
    rows = [
        [*truth.rgb[b], *(image for name in (first, student, few) for image in made[name].clip.rgb[b])]
        for b in range(min(SHOWN, len(truth.rgb)))
    ]
    notes = [
        f"{held_out.scenes} held-out tabletops, {held_out.targets} new views from {GIVEN} given images, all from the "
        "same noise. Sharpness: mean absolute difference of neighboring pixels as a share of the truth's."
    ]
    report = Report.now("A student beside its teacher", [found.table], notes, missed(found, first, student, few))
    with new_folder(arguments.output, overwrite=False) as folder:
        report.write(folder / "report.json")
        write_png(folder / "sheet.png", grid(rows))
    return publish(report, arguments.report)


def missed(found: Figures, first: str, student: str, few: str) -> list[str]:
    """What the student does not reach."""
    lost = paired_difference(found.to_truth[student], found.to_truth[first]).mean
    nearer = paired_difference(found.to_full[student], found.to_full[few]).low
    misses = []
    if lost is None or lost < -TARGET_DB:
        misses.append(f"{student}: {lost} dB to the full sample's (target {-TARGET_DB} or more)")
    if nearer is None or nearer <= 0:
        misses.append(f"{student}: not nearer to the teacher than {few}")
    return misses


if __name__ == "__main__":
    sys.exit(main())
