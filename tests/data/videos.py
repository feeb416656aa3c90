"""Videos of procedural scenes in RealEstate10K's form, good ones and ones with something wrong."""

from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from geometry.io.video import write_mp4
from geometry.trajectory.paths import orbit
from worldgen.scenes.families.family import draw
from worldgen.scenes.rendering.renderer import render

SIDE, FPS = 160, 5.0


def recorded(scene: int = 0, frames: int = 12, arc_deg: float = 40.0) -> tuple[torch.Tensor, Cameras]:
    """A video [f, 3, h, w] of an orbit about a textured scene, and its true cameras (float64)."""
    poses = orbit(torch.tensor([0.0, 0.0, 0.3], dtype=torch.float64), 3.0, 25.0, frames, 10.0, arc_deg)
    cameras = Cameras.from_fov(poses, 55.0, (SIDE, SIDE))
    clip = render(draw("texture_soup", 5, [scene]), cameras.to(torch.float32)[None], supersample=2)[0]
    return clip.rgb, cameras


def write_video(folder: Path, name: str, rgb: torch.Tensor, cameras: Cameras) -> None:
    """`name`.mp4 and `name`.txt."""
    write_mp4(folder / f"{name}.mp4", rgb, FPS)
    lines = [""]
    for n, (pose, K) in enumerate(zip(cameras.camera_from_world, cameras.K)):
        matrix = " ".join(f"{v:.9f}" for v in pose[:3].flatten().tolist())
        lens = [float(v) / SIDE for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
        lines.append(f"{round(1e6 * n / FPS)} {' '.join(f'{v:.9f}' for v in lens)} 0 0 {matrix}")
    (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
