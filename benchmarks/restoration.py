"""Restored images beside the obvious answers: `python -m benchmarks.restoration`.

Held-out tabletops, four posed frames of each on an arc of 28 degrees. Every task is run with the same settings. Printed
are mean PSNR (dB) over the frames that were damaged, the paired difference to each baseline with its 95% interval over
scenes, and the largest distance of any result from the measurement (from A A+ y, what images can have of it). Exits
with 1 unless every interval is above 0 and every distance under 1e-3, but for rows that show what can't be had.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.errors import InputError
from geometry.io.images import write_png
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import psnr
from worldgen.evaluation.metrics.intervals import interval, paired_difference
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.restoration import Restoration, denoise, restore
from worldgen.runtime.contact_sheet import grid
from worldgen.runtime.rng import Stream, stream
from worldgen.sampling.restoration import (
    Blur,
    Downsample,
    Gray,
    Inpaint,
    LinearOperator,
    displayable,
    measurement_residual,
)
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

FRAMES, SIZE, HALF_ANGLE_DEG = 4, 64, 14.0
MISSING = 1  # of the four frames: the one that is missing, or the one in color
WIDTHS_PX = (0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 2.0)

Draw = Callable[[np.random.Generator], LinearOperator]
Prediction = Callable[[LinearOperator, Tensor, Tensor], Tensor]  # of operator, measurement and truth


@dataclass(frozen=True)
class Task:
    """A damage, and what else one might do about it.

    damage     an operator, drawn for a scene; or noise of this standard deviation
    baselines  images by name; the first stands in the sheet
    judged     frames
    bits       the measurement is rounded to; 0 = exact
    claimed    whether the model has to win; else the row is for the record
    """

    name: str
    damage: Draw | float
    baselines: dict[str, Prediction]
    judged: tuple[int, ...] = tuple(range(FRAMES))
    bits: int = 0
    claimed: bool = True


@dataclass
class PartResult:
    """Figures of a task, one number a scene, and images of the first scene: truth, measured, baseline, restored."""

    task: Task
    restored: list[float] = field(default_factory=list)
    baselines: dict[str, list[float]] = field(default_factory=dict)
    residual: float = 0.0
    images: list[Tensor] = field(default_factory=list)


def boxes(draw: np.random.Generator) -> Inpaint:
    """Two squares of 24 pixels are missing in each frame."""
    known = torch.ones(FRAMES, 1, SIZE, SIZE, dtype=torch.bool)
    for frame, (top, left) in enumerate(draw.integers(0, SIZE - 24, (FRAMES, 2, 2)).swapaxes(1, 2)):
        for row, column in zip(top, left):
            known[frame, :, row : row + 24, column : column + 24] = False
    return Inpaint(known)


def half_the_pixels(draw: np.random.Generator) -> Inpaint:
    """Every pixel is missing with a chance of one half."""
    return Inpaint(torch.from_numpy(draw.random((FRAMES, 1, SIZE, SIZE)) < 0.5))


def one_frame(draw: np.random.Generator) -> Inpaint:
    """One frame in the middle is missing."""
    known = torch.ones(FRAMES, 1, SIZE, SIZE, dtype=torch.bool)
    known[MISSING] = False
    return Inpaint(known)


def guess(operator: LinearOperator, measured: Tensor, truth: Tensor) -> Tensor:
    """The operator's own."""
    return operator.guess(measured).clamp(0, 1)


def consistent_guess(operator: LinearOperator, measured: Tensor, truth: Tensor) -> Tensor:
    """And made to agree with the measurement."""
    return displayable(operator, measured, operator.guess(measured))


def unchanged(operator: LinearOperator, measured: Tensor, truth: Tensor) -> Tensor:
    """What was measured."""
    return measured


def neighbors(operator: LinearOperator, measured: Tensor, truth: Tensor) -> Tensor:
    """The missing frame is the mean of those beside it."""
    filled = measured.clone()
    filled[MISSING] = (measured[MISSING - 1] + measured[MISSING + 1]) / 2
    return filled


def smoothed(operator: LinearOperator, measured: Tensor, truth: Tensor) -> Tensor:
    """The Gaussian filter of the width that comes nearest to the truth."""
    predictions = [Blur.gaussian(width).apply(measured).clamp(0, 1) for width in WIDTHS_PX]
    return max(predictions, key=lambda answer: float(psnr(answer, truth).mean()))


OTHERS = tuple(frame for frame in range(FRAMES) if frame != MISSING)
ONE_IN_COLOR = Gray(torch.arange(FRAMES) == MISSING)
EVERYTHING = Downsample(1)  # of noised images
NONE_IN_COLOR = Gray(torch.zeros(FRAMES, dtype=torch.bool))
BICUBIC: dict[str, Prediction] = {"bicubic": guess, "bicubic made consistent": consistent_guess}
BLURRED: dict[str, Prediction] = {"pseudo-inverse": guess, "blurred": unchanged}
FILTER: dict[str, Prediction] = {"Gaussian filter, best width": smoothed}
TASKS = (
    Task("super-resolution 2x", lambda _: Downsample(2), BICUBIC),
    Task("super-resolution 4x", lambda _: Downsample(4), BICUBIC),
    Task("inpainting, two boxes", boxes, {"nearest fill": guess}),
    Task("inpainting, half the pixels", half_the_pixels, {"nearest fill": guess}),
    Task("a missing frame", one_frame, {"blend of neighbors": neighbors}, (MISSING,)),
    Task("deblurring, 3 px", lambda _: Blur.gaussian(3.0), BLURRED),
    Task("deblurring, 3 px in 8 bits", lambda _: Blur.gaussian(3.0), BLURRED, bits=8),
    Task("denoising, 0.1", 0.1, FILTER),
    Task("denoising, 0.05", 0.05, FILTER, claimed=False),
    Task("denoising, 0.02", 0.02, FILTER, claimed=False),
    Task("color from one frame", lambda _: ONE_IN_COLOR, {"grey": unchanged}, OTHERS),
    Task("color from nothing", lambda _: NONE_IN_COLOR, {"grey": unchanged}, claimed=False),
)


def held_out(scenes: int, seed: int = 0) -> Clip:
    """Four frames [scenes, 4] evenly along an arc around each of some held-out tabletops."""
    draws = [stream(Stream.HELD_OUT_SCENES, seed, scene, 0, 2) for scene in range(scenes)]
    numbers = torch.from_numpy(np.stack([draw.random((1 + FRAMES, NUMBERS)) for draw in draws])).float()
    numbers[:, 1:, 0] = (torch.arange(FRAMES) + 0.5) / FRAMES
    cameras = ring(numbers[:, 0], numbers[:, 1:], torch.full((scenes,), HALF_ANGLE_DEG), (SIZE, SIZE))
    return render(tabletop(seed, list(range(scenes)), held_out=True), cameras, 2)


def solve(task: Task, model: WorldModel, truth: Clip, how: Restoration, outcome: PartResult, scene: int) -> None:
    """One scene [4], added to the outcome."""
    draw = stream(Stream.SAMPLING, how.seed, scene, TASKS.index(task))
    if isinstance(task.damage, int | float):
        noise = torch.from_numpy(draw.standard_normal(truth.rgb.shape, dtype=np.float32))
        operator, measured = EVERYTHING, truth.rgb + task.damage * noise
        rgb = denoise(model, measured, truth.cameras, task.damage).rgb
        shown = measured.clamp(0, 1)
    else:
        operator = task.damage(draw)
        measured = operator.apply(truth.rgb)
        if task.bits:
            measured = measured.mul(2**task.bits - 1).round().div(2**task.bits - 1)
        rgb = restore(model, measured, truth.cameras, operator, how).rgb
        possible = operator.apply(operator.pseudo_inverse(measured))
        outcome.residual = max(outcome.residual, measurement_residual(operator, possible, rgb))
        shown = operator.pseudo_inverse(measured) if isinstance(operator, Downsample) else measured
    judge = partial(score, truth=truth.rgb, frames=list(task.judged))
    predictions = {name: answer(operator, measured, truth.rgb) for name, answer in task.baselines.items()}
    outcome.restored.append(judge(rgb))
    for name, answer in predictions.items():
        outcome.baselines.setdefault(name, []).append(judge(answer))
    if not outcome.images:
        frame = task.judged[0]
        outcome.images = [image[frame] for image in (truth.rgb, shown, next(iter(predictions.values())), rgb)]


def score(rgb: Tensor, truth: Tensor, frames: list[int]) -> float:
    """Mean PSNR of some frames."""
    return float(psnr(rgb[frames], truth[frames]).mean())


def table(outcomes: list[PartResult]) -> tuple[str, bool]:
    """Markdown, and whether every claim holds."""
    lines = ["| task | baseline | baseline dB | restored dB | gain dB | residual |", "|---|---|---|---|---|---|"]
    holds = True
    for outcome in outcomes:
        ours = torch.tensor(outcome.restored)
        residual = "–" if isinstance(outcome.task.damage, int | float) else f"{outcome.residual:.0e}"
        for name, values in outcome.baselines.items():
            theirs = torch.tensor(values)
            gain = paired_difference(ours, theirs)
            low = gain["low"]
            holds &= not outcome.task.claimed or (low is not None and low > 0)
            means = f"{interval(theirs)['mean']:.2f} | {interval(ours)['mean']:.2f}"
            said = f"{gain['mean']:+.2f} [{low:+.2f}, {gain['high']:+.2f}]"
            lines.append(f"| {outcome.task.name} | {name} | {means} | {said} | {residual} |")
        holds &= outcome.residual < 1e-3
    return "\n".join(lines), holds


def main() -> int:
    """Run every task, print the table and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="an embedded model or a folder (default tiny)")
    parser.add_argument("--scenes", type=int, default=16, help="held-out scenes (default 16)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the series of scenes (default 0; settings were chosen on 1)"
    )
    parser.add_argument("--steps", type=int, default=Restoration.steps, help="calls of the network")
    parser.add_argument("--start", type=float, default=Restoration.start, help="the level the guess is taken to be at")
    parser.add_argument("--sheet", type=Path, default=Path("out/restoration.png"), help="where the images go")
    arguments = parser.parse_args()
    try:
        how = Restoration(arguments.steps, arguments.start)
        model = WorldModel.load(arguments.model)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    clips = held_out(arguments.scenes, arguments.seed)
    outcomes = []
    for task in TASKS:
        outcome = PartResult(task)
        for scene in range(arguments.scenes):
            solve(task, model, clips[scene], how, outcome, scene)
        outcomes.append(outcome)
    lines, holds = table(outcomes)
    print(lines)
    arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
    write_png(arguments.sheet, grid([outcome.images for outcome in outcomes]))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
