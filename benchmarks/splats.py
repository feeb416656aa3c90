"""3D Gaussians fitted to tabletops: `python -m benchmarks.splats`.

24 exact images of held-out tabletops from all around, judged on 8 others, beside the Gaussians it starts from and the
nearest given image. Exits with 1 if a scene stays below 25 dB. How fast they are drawn is a case of
`benchmarks.geometry`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import Result, compare
from geometry.camera.cameras import Cameras
from geometry.gaussians.rendering import Backend, render_splats
from geometry.gaussians.splat_fitting import fit_splats
from geometry.gaussians.splats import Splats
from geometry.gaussians.splatting import TILE, blend_all_pairs
from geometry.io.files import write_file
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from worldgen.core.clip import Clip
from worldgen.evaluation.baselines import copy_nearest
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.evaluation.sets.orbit import OrbitEvaluation, orbit_set
from worldgen.runtime.contact_sheet import depth_image, grid

GIVEN, HELD_OUT, LEAST_DB = 24, 8, 25.0
_SHOWN = 4


def cloud(count: int) -> tuple[Splats, Cameras]:
    """Random Gaussians about the origin, smaller the more there are, and one camera of 128 x 128 pixels."""
    draw = torch.Generator().manual_seed(0)
    wide = 0.06 * (2000 / count) ** (1 / 3)
    splats = Splats(
        0.8 * torch.randn(count, 3, generator=draw),
        torch.randn(count, 4, generator=draw),
        wide * torch.rand(count, 3, generator=draw) + 0.005,
        0.9 * torch.rand(count, generator=draw) + 0.05,
        0.2 * torch.randn(count, 16, 3, generator=draw),
    )
    return splats, Cameras.from_fov(orbit(torch.zeros(3), 3.0, 15.0, 1), 50.0, (128, 128))[0]


def speed(count: int, repeats: int) -> list[Result]:
    """All ways to draw an image and to draw it and come back, timed in turn; they must agree first."""
    plain, camera = cloud(count)
    leaves = [part.clone().requires_grad_() for part in vars(plain).values()]
    learned = Splats(*leaves)
    bands = [range(top, top + TILE) for top in range(0, camera.hw[0], TILE)]

    def in_bands(backward: bool) -> list[Tensor]:
        """All pairs in bands of rows, since their gradients in one go don't fit in memory."""
        images = []
        for rows in bands:
            rgb = blend_all_pairs(learned, camera, rows=rows)[0]
            if backward:
                rgb.sum().backward()
            images.append(rgb.detach())
        return images

    def tiled(splats: Splats, backend: Backend, backward: bool) -> Tensor:
        rgb = render_splats(splats, camera, backend=backend)[0]
        if backward:
            rgb.sum().backward()
        return rgb.detach()

    truth = torch.cat(in_bands(False), 1)
    for backend in ("torch", "numba"):
        off = (tiled(plain, backend, False) - truth).abs()
        assert off.mean() < 1e-5 and off.max() < 0.02, (backend, off.mean(), off.max())
    forward: dict[str, Callable[[], object]] = {
        "all pairs": lambda: in_bands(False),
        "torch tiles": lambda: tiled(learned, "torch", False),
        "numba": lambda: tiled(plain, "numba", False),
    }
    both: dict[str, Callable[[], object]] = {
        "all pairs": lambda: in_bands(True),
        "torch tiles": lambda: tiled(learned, "torch", True),
        "numba": lambda: tiled(learned, "numba", True),
    }
    targets = {"torch tiles": 5.0, "numba": 50.0}
    return [
        *compare(f"{count} Gaussians, forward", forward, "all pairs", targets, repeats),
        *compare(f"{count} Gaussians, forward and backward", both, "all pairs", {"torch tiles": 5.0}, repeats),
    ]


def fit(clip: Clip, options: dict[str, Any]) -> tuple[list[dict[str, Any]], list[list[Tensor]]]:
    """The figures of one scene's clip [32] on its held-out views, a row a method, and rows of images of them."""
    known, held = clip[:GIVEN], clip[GIVEN:]
    given = (known.rgb, known.cameras, None, known.depth)
    rows: list[dict[str, Any]] = []

    def judged(method: str, rgb: Tensor, depth: Tensor | None, **more: Any) -> None:
        absrel = None if depth is None else float(depth_errors(depth, held.depth)[0].nanmean())
        figures = {"psnr": float(psnr(rgb, held.rgb).mean()), "ssim": float(ssim(rgb, held.rgb).mean())}
        rows.append({"method": method, **figures, "abs_rel": absrel, **more})

    begun, work = time.perf_counter(), time.process_time()
    splats = fit_splats(*given, **options)
    spent = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - work}
    rgb, depth, _ = render_splats(splats, held.cameras)
    rgb = rgb.clamp(0, 1)
    judged("fitted", rgb, depth, gaussians=len(splats), **spent)
    start = fit_splats(*given, **options | {"steps": 0})
    first, first_depth, _ = render_splats(start, held.cameras)
    judged("where it starts", first.clamp(0, 1), first_depth, gaussians=len(start))
    judged("copy nearest", copy_nearest(known[None], held.cameras[None])[0], None)
    shown = []
    for i in range(_SHOWN):
        seen = held.depth[i][held.depth[i].isfinite()]
        near, far = float(seen.min()), min(float(seen.max()), 20.0)
        depths = [depth_image(d, near, far) for d in (held.depth[i], depth[i])]
        shown.append([held.rgb[i], rgb[i], 0.5 + 2 * (rgb[i] - held.rgb[i]), *depths])
    return rows, shown


def fit_table(rows: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| scene | Gaussians | PSNR dB | SSIM | AbsRel | seconds | CPU seconds |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        absrel = "–" if row["abs_rel"] is None else f"{row['abs_rel']:.4f}"
        spent = [f"{row[key]:.0f}" if key in row else "" for key in ("seconds", "cpu_seconds")]
        lines.append(
            f"| {row['scene']}, {row['method']} | {row.get('gaussians', '')} | {row['psnr']:.2f} | {row['ssim']:.4f} "
            f"| {absrel} | {spent[0]} | {spent[1]} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the tables; write them and the contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4, help="held-out tabletops (default 4)")
    parser.add_argument("--steps", type=int, help="of the fit (default its own)")
    parser.add_argument("--gaussians", type=int, help="of the fit (default its own)")
    parser.add_argument("--threads", type=int, default=1, help="of the fit (default 1: a second one saves little)")
    parser.add_argument("--output", type=Path, default=Path("out/splats"), help="folder (default out/splats)")
    a = parser.parse_args()
    options = {name: value for name in ("steps", "gaussians") if (value := getattr(a, name)) is not None}
    torch.set_num_threads(a.threads)
    fitted, images = [], []
    for scene in range(a.scenes):
        wanted = OrbitEvaluation("tabletop", 0, scene + 1, 128, 2, (GIVEN,), HELD_OUT, {"full": 180.0})
        rows, shown = fit(orbit_set(wanted, "full")[scene], options)
        print(f"scene {scene}: {rows[0]['psnr']:.2f} dB in {rows[0]['cpu_seconds']:.0f} s of CPU time", file=sys.stderr)
        fitted += [{"scene": scene} | row for row in rows]
        images += shown
    print(fit_table(fitted))
    print(f"\nthreads: {a.threads}; the machine's load was {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    write_png(a.output / "sheet.png", grid(images).clamp(0, 1))
    write_file(a.output / "splats.json", json.dumps(fitted, indent=2).encode())
    return int(any(row["method"] == "fitted" and row["psnr"] < LEAST_DB for row in fitted))


if __name__ == "__main__":
    sys.exit(main())
