"""Every mode of the one sampler on a held-out scene: its matrix of levels, and what it generates.

python examples/03_modes.py [OUTPUT] [STEPS]

Writes a sheet of all modes (each matrix above its frames and their depth) and prints how far from the truth they are.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import worldgen
from geometry.image.warping import fill_nearest, forward_warp
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import depth_errors, psnr
from worldgen.pipelines.generation import generate
from worldgen.runtime.contact_sheet import depth_image, grid
from worldgen.sampling import SOLVERS, Guidance, KeyedNoise, Levels, Pyramid, sample_pyramid
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

ARC_DEG = 70.0


def main(output: Path = Path("out/modes"), steps: int = 10, frames: int = 12) -> dict[str, tuple[float, float]]:
    model, truth = worldgen.WorldModel.load("tiny"), scene(frames)
    scores, sheets = {}, []
    print(f"{'mode':28} rows  PSNR of new images  relative error of depth")
    for name, (clip, levels) in modes(truth, steps).items():
        made, true = generate(model, clip, levels, guidance=Guidance(image=1.5)), truth.frames(slice(0, len(clip)))
        new = ~levels.still[:, 0]
        error = float(depth_errors(made.depth, true.depth)[0].nanmean())
        scores[name] = float(psnr(made.rgb[0, new], true.rgb[0, new]).mean()), error
        print(f"{name:28} {len(levels) - 1:4}  {scores[name][0]:17.2f} dB  {error:17.3f}")
        shown = [list(made.rgb[0]), [depth_image(depth, 1.5, 6.0) for depth in made.depth[0]]]
        sheets += [levels.plot([f"{name}: rgb", "depth"]), grid(shown, enlarge=1)]
    stages, made = pyramid(model, truth.frames(slice(0, 8)), steps)
    print(f"{'pyramid':28}       {float(psnr(made[1:], truth.rgb[0, 1:8]).mean()):14.2f} dB")
    sheets += [stages.plot(["pyramid: rgb", "depth"]), grid([list(made)], enlarge=1)]
    write_png(output / "modes.png", stacked(sheets))
    print(f"see {output}/modes.png")
    return scores


def scene(count: int) -> Clip:
    """An arc around a held-out tabletop [1, f], with exact depth."""
    path = orbit(torch.tensor([0.0, 0.0, 0.25]), 3.3, 28.0, round(count * 360 / ARC_DEG))[:count]
    cameras = worldgen.Cameras.from_fov(path, 52.0, (64, 64))
    return render(tabletop(seed=0, indices=[7], held_out=True), cameras[None], 2)


def modes(truth: Clip, steps: int) -> dict[str, tuple[Clip, Levels]]:
    """Of each mode the clip that holds what is given, and its levels for rgb and depth."""

    def given(frames: int, *images: int) -> torch.Tensor:
        known = torch.zeros(frames, 2, dtype=torch.bool)
        known[list(images), 0] = True
        return known

    count, short, whole = len(truth), truth.frames(slice(0, 8)), truth
    first = given(count, 0)
    return {
        "from nothing": (short, Levels.full_sequence(8, 2, steps)),
        "image to views": (short, Levels.given(given(8, 0), steps)),
        "interpolation": (short, Levels.given(given(8, 0, 7), steps)),
        "prediction": (short, Levels.given(given(8, 0, 1, 2), steps)),
        "stabilized history": (short, Levels.stabilized(given(8, 0, 1, 2), steps)),
        "depth from images": (short, Levels.by_modality(8, (0, 1), steps)),
        "depth before images": (short, Levels.by_modality(8, (2, 1), steps)),
        "temporal super-resolution": (short, Levels.temporal_super_resolution(8, 2, steps, 2)),
        "refine a warped image": (warped(short), Levels.refine(8, 2, steps, 0.6, given(8, 0))),
        "autoregressive": (whole, Levels.autoregressive(count, 2, steps, 4, first)),
        "rolling": (whole, Levels.rolling(count, 2, steps, max(1, steps // 5), first)),
        "keyframes": (whole, Levels.keyframes(count, 2, steps, (4, 2), first)),
    }


def pyramid(model: worldgen.WorldModel, truth: Clip, steps: int) -> tuple[Pyramid, torch.Tensor]:
    """The first image is given; the first steps are made at half the size."""
    rgb, depth = (torch.nn.functional.avg_pool2d(x[0], 2)[None] for x in (truth.rgb, truth.depth))
    small = Clip(rgb, depth, truth.cameras.resized((rgb.shape[-2], rgb.shape[-1])))
    encoded = [model.encode(clip) for clip in (small, truth)]
    known, (_, conditioning, normalization) = [part.latent for part in encoded], encoded[1]
    sizes = [(latent.shape[-2], latent.shape[-1]) for latent in known]
    keyed = [KeyedNoise(0, (0,), tuple(range(len(truth))), model.channels, hw) for hw in sizes]
    noise = [part.fresh(np.full((len(truth), 2), stage)) for stage, part in enumerate(keyed)]
    given = torch.zeros(len(truth), 2, dtype=torch.bool)
    given[0, 0] = True
    stages = Pyramid.of(given, sizes[1], (1 + steps // 4, steps - steps // 4), (0.7,), model.config.process)
    with torch.inference_mode():
        *_, (_, last) = sample_pyramid(
            model.denoiser(), known, noise, stages, conditioning, SOLVERS["euler"], model.codec.block
        )
    return stages, model.decode(last.x.clone(), normalization, truth.cameras).rgb[0]


def warped(truth: Clip) -> Clip:
    """The first image as its true depth moves it into each camera, holes filled with what is nearest."""
    rgb, (images, depth, cameras) = [], (truth.rgb[0, :1], truth.depth[0, :1], truth.cameras[0])
    for frame in range(len(truth)):
        seen, _, visible = forward_warp(images, depth, cameras[:1], cameras[frame])
        rgb.append(fill_nearest(seen, visible))
    return Clip(torch.stack(rgb)[None], truth.depth, truth.cameras)


def stacked(images: list[torch.Tensor]) -> torch.Tensor:
    """Images below each other, on white."""
    width = max(image.shape[2] for image in images)
    return torch.cat([torch.nn.functional.pad(p, (0, width - p.shape[2], 0, 6), value=1.0) for p in images], 1)


if __name__ == "__main__":
    output, steps = (*sys.argv[1:], *("out/modes", "10")[len(sys.argv) - 1 :])
    main(Path(output), int(steps))
