"""One image of a held-out scene in; an orbit, points and a mesh out; and how far they are from the truth.

python examples/01_orbit.py [OUTPUT]
"""

import sys
from pathlib import Path

import torch

import worldgen
from geometry.trajectory.paths import orbit
from worldgen.evaluation.metrics.image import psnr
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render

FRAMES, RADIUS, ELEVATION_DEG, FOV_DEG = 24, 3.3, 28.0, 52.0


def main(output: Path = Path("out/demo")) -> None:
    pivot = torch.tensor([0.0, 0.0, 0.25])
    path = worldgen.Cameras.from_fov(orbit(pivot, RADIUS, ELEVATION_DEG, FRAMES), FOV_DEG, (64, 64))
    truth = render(tabletop(seed=0, indices=[7], held_out=True), path[None])[0]

    model = worldgen.WorldModel.load("tiny")
    world = worldgen.orbit(
        model, [truth.rgb[0]], frames=FRAMES, radius=RADIUS, elevation_deg=ELEVATION_DEG, fov_deg=FOV_DEG
    )
    world.save(output, overwrite=True)

    ours = psnr(world.clip.rgb[1:], truth.rgb[1:]).mean()
    copied = psnr(truth.rgb[:1].expand(FRAMES - 1, -1, -1, -1), truth.rgb[1:]).mean()
    print(f"{FRAMES - 1} generated views of 1 image: PSNR {ours:.2f} dB to the exact truth; copying it {copied:.2f} dB")
    print(f"see {output}/contact_sheet.png, {output}/video.mp4 and {output}/mesh.glb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
