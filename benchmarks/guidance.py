"""What guidance does to the embedded model: `python -m benchmarks.guidance --output out/guidance`.

32 held-out tabletops, one given image and four new views along an arc of 20 degrees, 10 steps, the same noise.

camera scale   from 0 (cameras dropped) to 3: how far images move, and whether their colors change
motion         the scene's true optical flow as target, without cameras and with them
reprojection   views that explain each other by their own depth

Motion is estimated from the images by TV-L1 (Zach et al. 2007; scikit-image's), without the targets, where the true
images have texture; it has errors of its own, which are the true images' row. Exits with 1 where guided is
not better beyond the interval, or the camera scale changes colors more than a quarter of what another scene does.
"""

import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, shown
from benchmarks.shared.views import images_only
from geometry.image.multiview import agreement
from geometry.io.images import write_png
from geometry.shapes import Bool, Float
from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning
from worldgen.core.normalization import Normalization, scene_scale_from_cameras
from worldgen.evaluation.metrics.consistency import consistency
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.evaluation.metrics.intervals import interval, paired_difference, share_of_way
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, Wrap, generate_views
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.contact_sheet import grid
from worldgen.runtime.rng import Stream, stream
from worldgen.sampling.denoiser import Denoiser, FunctionDenoiser
from worldgen.sampling.energies import Energy, flow_energy, reprojection_energy
from worldgen.sampling.guidance import Guidance, guide_by_energy
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

Figures = dict[str, Float[Tensor, "scenes"]]

FRAMES, ARC_DEG, SIZE_PX = 5, 20.0, 64
SCALES = (0.0, 1.0, 2.0, 3.0)  # of the camera
STEP, REPEATS = 1.0, 3  # down every energy
STEPS = 10
_PLACE = 2000  # of the cameras' numbers among a scene's streams, after those of evaluations
_TEXTURE = 0.04  # gradient of gray in 0..1 a pixel, below which flow cannot be estimated
_ATTACHMENT = 60  # of TV-L1: weight of brightness against smoothness; least error on true images among 5 to 200
LARGEST_SHIFT = 0.25  # of colors by the camera scale, as a share of the distance to another scene's
_COLUMNS = {  # title and format
    "epe_px": ("flow error px", ".2f"), "motion": ("motion", ".2f"), "psnr": ("PSNR dB", ".2f"),
    "agreement": ("agreement", ".3f"), "reprojection_db": ("reprojection dB", ".2f"), "shift_px": ("shift px", ".2f"),
    "abs_rel": ("AbsRel", ".3f"),
}  # fmt: skip
TRUE, DROPPED, CAMERAS = "true images", "no cameras (camera scale 0)", "unguided"
MOVED, BOTH, AGREED = "no cameras, flow", "flow", "reprojection"


def held_out(scenes: int, seed: int = 0) -> Clip:
    """Held-out tabletops recorded along an arc, every other one the other way round, with flow and visibility."""
    numbers = np.stack([stream(Stream.HELD_OUT_SCENES, seed, b, _PLACE).random(NUMBERS) for b in range(scenes)])
    per_frame = torch.full((scenes, FRAMES, NUMBERS), 0.5)
    along = torch.linspace(0, 1, FRAMES)
    per_frame[..., 0] = torch.where(torch.arange(scenes)[:, None] % 2 == 0, along, 1 - along)
    cameras = ring(torch.from_numpy(numbers).float(), per_frame, torch.full((scenes,), ARC_DEG / 2), (SIZE_PX, SIZE_PX))
    return render(tabletop(seed, list(range(scenes)), held_out=True), cameras, 2, truths=("flow", "visibility"))


def generated(model: WorldModel, truth: Clip, camera: float = 1.0, wrap: Wrap | None = None) -> Clip:
    """The clips again, from their first images and all cameras."""
    known = images_only(truth.frames(slice(1)))
    scale, sampling = scene_scale_from_cameras(truth.cameras), Sampling(STEPS)
    guidance = Guidance(camera=camera)
    return generate_views(model, known, truth.cameras[:, 1:], scale, sampling, guidance=guidance, wrap=wrap)


def variants(model: WorldModel, truth: Clip) -> dict[str, Clip]:
    """Everything that is compared, by name."""
    codec = model.codec

    def dropped(denoiser: Denoiser, _: Conditioning) -> Denoiser:
        return FunctionDenoiser.like(denoiser, lambda x, level, c: denoiser(x, level, c.without_cameras()))

    def down(denoiser: Denoiser, energy: Energy) -> Denoiser:
        return guide_by_energy(denoiser, energy, STEP, REPEATS)

    assert truth.flow is not None and truth.visibility is not None
    motion = flow_energy(codec, truth.flow, truth.visibility)
    wraps: dict[str, Wrap] = {
        MOVED: lambda denoiser, c: down(dropped(denoiser, c), motion),
        BOTH: lambda denoiser, _: down(denoiser, motion),
        AGREED: lambda denoiser, c: down(denoiser, reprojection_energy(codec, c.cameras)),
    }
    made = {TRUE: truth, DROPPED: generated(model, truth, wrap=dropped), CAMERAS: generated(model, truth)}
    made |= {_scaled(scale): generated(model, truth, scale) for scale in SCALES if scale > 1}
    return made | {name: generated(model, truth, wrap=wrap) for name, wrap in wraps.items()}


def _scaled(scale: float) -> str:
    """The name of the clips of a camera scale."""
    return {0.0: DROPPED, 1.0: CAMERAS}.get(scale, f"camera scale {scale:g}")


def estimated_flow(rgb: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b f-1 2 h w"]:
    """Optical flow in pixels from each frame to the next, by TV-L1 on gray."""
    from skimage.registration import optical_flow_tvl1

    gray = rgb.mean(2).numpy()
    found = [
        [optical_flow_tvl1(now, after, attachment=_ATTACHMENT)[::-1] for now, after in pairwise(clip)] for clip in gray
    ]
    return torch.from_numpy(np.array(found)).to(rgb)


def textured(rgb: Float[Tensor, "b f 3 h w"]) -> Bool[Tensor, "b f h w"]:
    """Where the gray image changes enough for its motion to be estimated."""
    down, right = torch.gradient(rgb.mean(2), dim=(-2, -1))
    return (down.square() + right.square()).sqrt() > _TEXTURE


def figures(made: Clip, truth: Clip) -> Figures:
    """What is measured, [scenes].

    epe_px      mean distance of the estimated from the true flow, where the truth is textured and seen again
    motion      how much of the true flow the estimated one has, by least squares: 0 = stands still
    agreement   `geometry.image.multiview` by the generated depth
    reprojection_db, shift_px  `worldgen.evaluation.metrics.consistency`, by true depth
    """
    assert truth.flow is not None and truth.visibility is not None
    flow, true = estimated_flow(made.rgb), truth.flow[:, :-1]
    counted = truth.visibility[:, :-1, 0] & textured(truth.rgb)[:, :-1]
    error, along, length = (flow - true).norm(dim=2), (flow * true).sum(2), true.square().sum(2)
    errors, along, length, count = ((part * counted).sum((1, 2, 3)) for part in (error, along, length, counted.float()))
    normalization = Normalization.of(truth.cameras, scene_scale_from_cameras(truth.cameras))
    inverse = normalization.signal_from_depth(made.depth) + 1
    found = consistency(made.rgb, truth)
    return {
        "epe_px": errors / count,
        "motion": along / length,
        "psnr": psnr(made.rgb[:, 1:], truth.rgb[:, 1:]).mean(1),
        "agreement": agreement(made.rgb, inverse, normalization.normalize(truth.cameras)),
        "reprojection_db": found["reprojection_db"],
        "shift_px": found["shift_px"],
        "abs_rel": depth_errors(made.depth, truth.depth)[0].nanmean(1),
    }


def palette_distance(a: Float[Tensor, "b f 3 h w"], b: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b"]:
    """How far the colors of clips are apart wherever they are: the earth mover's distance of each channel's values in
    0..1, meaned over channels."""
    sorted_a, sorted_b = (clip.movedim(2, 1).flatten(2).sort(-1).values for clip in (a, b))
    return (sorted_a - sorted_b).abs().mean((1, 2))


def all_figures(found: dict[str, Figures]) -> Table:
    """Means over scenes."""
    rows = [(name, *(float(values[key].nanmean()) for key in _COLUMNS)) for name, values in found.items()]
    return Table.of({"sampled": ""} | dict(_COLUMNS.values()), rows, "Everything that is compared")


def camera_scales(made: dict[str, Clip], found: dict[str, Figures]) -> tuple[Table, list[str]]:
    """Motion and palette at each camera scale, and what is missed: motion has to grow, colors to stay."""
    still = torch.zeros_like(found[TRUE]["motion"])
    new = {scale: made[_scaled(scale)].rgb[:, 1:] for scale in SCALES}
    other = palette_distance(new[1.0], new[1.0].roll(1, 0))
    rows, misses = [], []
    for scale, rgb in new.items():
        motion = share_of_way(found[_scaled(scale)]["motion"], still, found[TRUE]["motion"])
        distance = palette_distance(rgb, new[1.0])
        share = share_of_way(distance, still, other)
        if share.high is None or share.high >= LARGEST_SHIFT:
            misses.append(f"camera scale {scale:g}: colors change by more than {LARGEST_SHIFT} of another scene's")
        color, spread = float(rgb.mean()), float(rgb.movedim(2, 1).flatten(2).std(-1).mean())
        rows.append((scale, motion, color, spread, interval(distance), share))
    grows = paired_difference(found[_scaled(SCALES[-1])]["motion"], found[CAMERAS]["motion"])
    if (grows.low or 0) <= 0:
        misses.append(f"camera scale {SCALES[-1]:g}: motion does not grow")
    note = (
        f"Motion at scale {SCALES[-1]:g} less that at 1: {shown(asdict(grows), '+.3f')}; another scene's palette is "
        f"{float(other.mean()):.3f} away."
    )
    columns = {
        "camera scale": "g", "motion, share of the truth's": ".2f", "mean color": ".3f", "its spread": ".3f",
        "palette from scale 1's": ".4f", "share of another scene's": ".2f",
    }  # fmt: skip
    return Table.of(columns, rows, "Camera scale", [note]), misses


def gains(found: dict[str, Figures]) -> tuple[Table, list[str]]:
    """Paired differences of guided less unguided, and what is missed: what was guided towards has to improve."""
    wanted = [(MOVED, DROPPED, "epe_px"), (BOTH, CAMERAS, "epe_px"), (AGREED, CAMERAS, "agreement")]
    wanted += [(AGREED, CAMERAS, "reprojection_db")]  # by true depth, which the energy does not know
    rows = []
    for ours, theirs in dict.fromkeys((ours, theirs) for ours, theirs, _ in wanted):
        rows.append((ours, theirs, *(paired_difference(found[ours][key], found[theirs][key]) for key in _COLUMNS)))
    misses = []
    for ours, theirs, key in wanted:
        gain = paired_difference(found[ours][key], found[theirs][key])
        worst = -(gain.high or 0) if key == "epe_px" else gain.low or 0
        if worst <= 0:
            misses.append(f"{ours}: {_COLUMNS[key][0]} not better than {theirs}")
    formats = {title: "+" + how for title, how in _COLUMNS.values()}
    return Table.of({"guided": "", "less": ""} | formats, rows, "Guided less unguided"), misses


def main() -> int:
    """Publish the tables; write contact sheets on request."""
    parser = command(__doc__)
    parser.add_argument("--scenes", type=int, default=32, help="held-out scenes (default 32)")
    parser.add_argument("--shown", type=int, nargs="+", default=[0, 2], help="scenes of the contact sheets")
    parser.add_argument("--output", type=Path, help="write the report and contact sheets to this new folder")
    a = parser.parse_args()
    began, truth = time.process_time(), held_out(a.scenes)
    made = variants(WorldModel.load("tiny"), truth)
    found = {name: figures(clip, truth) for name, clip in made.items()}
    (scales, changed), (differences, worse) = camera_scales(made, found), gains(found)
    notes = [
        f"{a.scenes} held-out tabletops, one given image and {FRAMES - 1} new views along an arc of {ARC_DEG:g} "
        f"degrees, {STEPS} steps, the same noise; {time.process_time() - began:.0f} s of CPU."
    ]
    tables = [scales, all_figures(found), differences]
    report = Report.now("What guidance does to the embedded model", tables, notes, changed + worse)
    if a.output:
        with new_folder(a.output) as folder:
            report.write(folder / "report.json")
            for sheet, names in (
                ("camera_scale.png", [_scaled(scale) for scale in SCALES]),
                ("energies.png", [TRUE, DROPPED, MOVED, CAMERAS, BOTH, AGREED]),
            ):
                write_png(folder / sheet, grid([list(made[name].rgb[b]) for b in a.shown for name in names]))
    return publish(report, a.report)


if __name__ == "__main__":
    sys.exit(main())
