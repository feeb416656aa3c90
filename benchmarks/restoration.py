"""Restored images beside simple baselines: `python -m benchmarks.restoration`.

Held-out tabletops, four posed frames of each on an arc of 28 degrees. Every task is run with the same settings. Printed
are mean PSNR (dB) over the frames that were damaged, the paired difference to each baseline with its 95% interval over
scenes, and the largest distance of any result from the measurement (from A A+ y, the part of it that images can have).
Exits with 1 unless every interval is above 0 and every distance under 1e-3, but for rows that show what is impossible.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from geometry.camera.cameras import Cameras
from geometry.io.images import write_png
from worldgen.core.clip import Clip
from worldgen.evaluation.geometric_baselines import plane_sweep
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
LARGEST_RESIDUAL = 1e-3
WIDTHS_PX = (0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 2.0)
STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.3)  # of non-local means, in standard deviations of the noise

Draw = Callable[[np.random.Generator], LinearOperator]


@dataclass(frozen=True)
class Damaged:
    """What a baseline is given, and the truth, which those may look at that take their best setting.

    measured, truth  [f, 3, h, w]; without an operator the damage is noise of standard deviation `noise`
    """

    operator: LinearOperator
    measured: Tensor
    truth: Tensor
    cameras: Cameras
    noise: float = 0.0


Baseline = Callable[[Damaged], Tensor]


@dataclass(frozen=True)
class Task:
    """A damage, and the baselines that restore it.

    damage     an operator, drawn for a scene; or noise of this standard deviation
    baselines  images by name; the first stands in the sheet
    scored     frames
    bits       the measurement is rounded to; 0 = exact
    claimed    whether the model has to be better; else the row is for the record
    """

    name: str
    damage: Draw | float
    baselines: dict[str, Baseline]
    scored: tuple[int, ...] = tuple(range(FRAMES))
    bits: int = 0
    claimed: bool = True


@dataclass(frozen=True)
class Solved:
    """One scene of a task: PSNR (dB), distance from the measurement, and images truth, measured, baseline, restored."""

    restored: float
    baselines: dict[str, float]
    residual: float
    images: list[Tensor]


@dataclass(frozen=True)
class Outcome:
    """A task's PSNR (dB), one number a scene, and the largest distance of a result from the measurement."""

    task: Task
    restored: list[float]
    baselines: dict[str, list[float]]
    residual: float

    @staticmethod
    def of(task: Task, scenes: Sequence[Solved]) -> "Outcome":
        """That of all scenes."""
        baselines = {name: [scene.baselines[name] for scene in scenes] for name in task.baselines}
        largest = max(scene.residual for scene in scenes)
        return Outcome(task, [scene.restored for scene in scenes], baselines, largest)


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


def guess(damaged: Damaged) -> Tensor:
    """The operator's own."""
    return damaged.operator.guess(damaged.measured).clamp(0, 1)


def consistent_guess(damaged: Damaged) -> Tensor:
    """And made to agree with the measurement."""
    return displayable(damaged.operator, damaged.measured, damaged.operator.guess(damaged.measured))


def biharmonic(damaged: Damaged) -> Tensor:
    """Missing pixels by the smoothest surface through the known ones (scikit-image)."""
    from skimage.restoration import inpaint_biharmonic

    assert isinstance(damaged.operator, Inpaint), f"{damaged.operator}; expected missing pixels"
    missing = ~damaged.operator.known[:, 0].expand(len(damaged.measured), -1, -1).numpy()
    pairs = zip(damaged.measured.movedim(1, -1).numpy(), missing)
    filled = [torch.from_numpy(inpaint_biharmonic(rgb, mask, channel_axis=-1)) for rgb, mask in pairs]
    return torch.stack(filled).movedim(-1, 1).float().clamp(0, 1)


def unchanged(damaged: Damaged) -> Tensor:
    """What was measured."""
    return damaged.measured


def neighbors(damaged: Damaged) -> Tensor:
    """The missing frame is the mean of those beside it."""
    filled = damaged.measured.clone()
    filled[MISSING] = (filled[MISSING - 1] + filled[MISSING + 1]) / 2
    return filled


def swept(damaged: Damaged) -> Tensor:
    """The missing frame by a plane sweep of the others."""
    frames = torch.tensor(OTHERS)
    rgb, cameras = damaged.measured[frames][None], damaged.cameras[frames]
    known = Clip(rgb, torch.zeros_like(rgb[:, :, :1]), cameras.reshape(1, len(frames)))
    views = plane_sweep(known, damaged.cameras[MISSING].reshape(1, 1))
    filled = damaged.measured.clone()
    filled[MISSING] = views["plane sweep"].rgb[0, 0]
    return filled


def smoothed(damaged: Damaged) -> Tensor:
    """The Gaussian filter of the width that comes nearest to the truth."""
    return _best([Blur.gaussian(width).apply(damaged.measured).clamp(0, 1) for width in WIDTHS_PX], damaged)


def nonlocal_means(damaged: Damaged) -> Tensor:
    """Means of similar patches (scikit-image), of the strength that comes nearest to the truth."""
    from skimage.restoration import denoise_nl_means

    predictions = []
    for strength in STRENGTHS:
        frames = [
            denoise_nl_means(
                rgb, patch_size=3, patch_distance=9, h=strength * damaged.noise, sigma=damaged.noise, fast_mode=True,
                channel_axis=-1,
            )
            for rgb in damaged.measured.movedim(1, -1).numpy()
        ]  # fmt: skip
        predictions.append(torch.from_numpy(np.stack(frames)).movedim(-1, 1).float().clamp(0, 1))
    return _best(predictions, damaged)


def _best(predictions: list[Tensor], damaged: Damaged) -> Tensor:
    return max(predictions, key=lambda rgb: float(psnr(rgb, damaged.truth).mean()))


OTHERS = tuple(frame for frame in range(FRAMES) if frame != MISSING)
ONE_IN_COLOR = Gray(torch.arange(FRAMES) == MISSING)
EVERYTHING = Downsample(1)  # of noised images
NONE_IN_COLOR = Gray(torch.zeros(FRAMES, dtype=torch.bool))
BICUBIC: dict[str, Baseline] = {"bicubic": guess, "bicubic made consistent": consistent_guess}
BLURRED: dict[str, Baseline] = {"pseudo-inverse": guess, "blurred": unchanged}
FILTER: dict[str, Baseline] = {
    "non-local means, best strength": nonlocal_means,
    "Gaussian filter, best width": smoothed,
}
FILLED: dict[str, Baseline] = {"biharmonic fill": biharmonic, "nearest fill": guess}
TASKS = (
    Task("super-resolution 2x", lambda _: Downsample(2), BICUBIC),
    Task("super-resolution 4x", lambda _: Downsample(4), BICUBIC),
    Task("inpainting, two boxes", boxes, FILLED),
    Task("inpainting, half the pixels", half_the_pixels, FILLED, claimed=False),
    Task(
        "a missing frame", one_frame, {"plane sweep": swept, "blend of neighbors": neighbors}, (MISSING,), claimed=False
    ),
    Task("deblurring, 3 px", lambda _: Blur.gaussian(3.0), BLURRED),
    Task("deblurring, 3 px in 8 bits", lambda _: Blur.gaussian(3.0), BLURRED, bits=8),
    Task("denoising, 0.1", 0.1, FILTER),
    Task("denoising, 0.05", 0.05, FILTER, claimed=False),
    Task("denoising, 0.02", 0.02, FILTER, claimed=False),
    Task("color from one frame", lambda _: ONE_IN_COLOR, {"gray": unchanged}, OTHERS),
    Task("color from nothing", lambda _: NONE_IN_COLOR, {"gray": unchanged}, claimed=False),
)


def held_out(scenes: int, seed: int = 0) -> Clip:
    """Four frames [scenes, 4] evenly along an arc around each of some held-out tabletops."""
    draws = [stream(Stream.HELD_OUT_SCENES, seed, scene, 0, 2) for scene in range(scenes)]
    numbers = torch.from_numpy(np.stack([draw.random((1 + FRAMES, NUMBERS)) for draw in draws])).float()
    numbers[:, 1:, 0] = (torch.arange(FRAMES) + 0.5) / FRAMES
    cameras = ring(numbers[:, 0], numbers[:, 1:], torch.full((scenes,), HALF_ANGLE_DEG), (SIZE, SIZE))
    return render(tabletop(seed, list(range(scenes)), held_out=True), cameras, 2)


def solve(task: Task, model: WorldModel, truth: Clip, how: Restoration, scene: int) -> Solved:
    """One scene [4]."""
    draw = stream(Stream.SAMPLING, how.seed, scene, TASKS.index(task))
    residual, noise_std = 0.0, 0.0
    if isinstance(task.damage, int | float):
        noise, noise_std = torch.from_numpy(draw.standard_normal(truth.rgb.shape, dtype=np.float32)), task.damage
        operator, measured = EVERYTHING, truth.rgb + noise_std * noise
        restored = denoise(model, measured, truth.cameras, task.damage).rgb
        shown = measured.clamp(0, 1)
    else:
        operator = task.damage(draw)
        measured = operator.apply(truth.rgb)
        if task.bits:
            measured = measured.mul(2**task.bits - 1).round().div(2**task.bits - 1)
        restored = restore(model, measured, truth.cameras, operator, how).rgb
        possible = operator.apply(operator.pseudo_inverse(measured))
        residual = measurement_residual(operator, possible, restored)
        shown = operator.pseudo_inverse(measured) if isinstance(operator, Downsample) else measured
    scored = partial(score, truth=truth.rgb, frames=list(task.scored))
    damaged = Damaged(operator, measured, truth.rgb, truth.cameras, noise_std)
    others = {name: baseline(damaged) for name, baseline in task.baselines.items()}
    images = [image[task.scored[0]] for image in (truth.rgb, shown, next(iter(others.values())), restored)]
    return Solved(scored(restored), {name: scored(rgb) for name, rgb in others.items()}, residual, images)


def score(rgb: Tensor, truth: Tensor, frames: list[int]) -> float:
    """Mean PSNR of some frames."""
    return float(psnr(rgb[frames], truth[frames]).mean())


def table(outcomes: Sequence[Outcome]) -> tuple[Table, list[str]]:
    """A row a task and baseline, and the claims that do not hold."""
    rows, misses = [], []
    for outcome in outcomes:
        name, ours = outcome.task.name, torch.tensor(outcome.restored)
        residual = None if isinstance(outcome.task.damage, int | float) else outcome.residual
        for baseline, values in outcome.baselines.items():
            theirs = torch.tensor(values)
            gain = paired_difference(ours, theirs)
            if outcome.task.claimed and (gain.low is None or gain.low <= 0):
                misses.append(f"{name}: not better than {baseline} beyond the interval")
            rows.append((name, baseline, interval(theirs).mean, interval(ours).mean, gain, residual))
        if outcome.residual >= LARGEST_RESIDUAL:
            misses.append(f"{name}: {outcome.residual:.0e} from the measurement (target below {LARGEST_RESIDUAL:g})")
    columns = {
        "task": "", "baseline": "", "baseline dB": ".2f", "restored dB": ".2f", "gain dB": "+.2f", "residual": ".0e",
    }  # fmt: skip
    return Table.of(columns, rows), misses


@reporting_errors
def main() -> int:
    """Run every task, publish the table and write the sheet."""
    parser = command(__doc__)
    parser.add_argument("--model", default="tiny", help="an embedded model or a folder (default tiny)")
    parser.add_argument("--scenes", type=int, default=16, help="held-out scenes (default 16)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the series of scenes (default 0; settings were chosen on 1)"
    )
    parser.add_argument("--steps", type=int, default=Restoration.steps, help="calls of the network")
    parser.add_argument("--start", type=float, default=Restoration.start, help="the level the guess is taken to be at")
    parser.add_argument("--sheet", type=Path, default=Path("out/restoration.png"), help="where the images go")
    arguments = parser.parse_args()
    how = Restoration(arguments.steps, arguments.start)
    model = WorldModel.load(arguments.model)
    clips = held_out(arguments.scenes, arguments.seed)
    solved = [[solve(task, model, clips[scene], how, scene) for scene in range(arguments.scenes)] for task in TASKS]
    found, misses = table([Outcome.of(task, scenes) for task, scenes in zip(TASKS, solved)])
    arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
    write_png(arguments.sheet, grid([scenes[0].images for scenes in solved]))
    notes = [
        f"{arguments.scenes} held-out tabletops, four posed frames of each on an arc of 28 degrees, {how.steps} calls "
        "of the network. PSNR over the damaged frames, with 95% bootstrap intervals over scenes; residual: largest "
        "distance of a result from the measurement."
    ]
    return publish(Report.now("Restored images beside simple baselines", [found], notes, misses), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
