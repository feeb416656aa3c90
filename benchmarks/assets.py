"""From posed images with exact depth to a textured mesh, measured: `python -m benchmarks.assets`.

Fuses a procedural scene, simplifies, unwraps and paints it, and measures how far the surface is from the true one, how
close its images come to those it was made from, and how long each step took. Writes the GLBs and a sheet to look at.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, missing, publish
from geometry.camera.cameras import Cameras
from geometry.camera.projection import unproject
from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.image.warping import backward_visible
from geometry.interop.open3d import fuse_tsdf_open3d
from geometry.io.assets.gltf import write_glb
from geometry.io.images import write_png
from geometry.mesh.meshes import Mesh, TexturedMesh, largest_components, surface_points
from geometry.mesh.rasterizing import render_mesh
from geometry.mesh.simplifying import simplify
from geometry.mesh.texturing import bake, render_textured, unwrap
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.neighbors import nearest_neighbors
from geometry.rotation.transforms import look_at
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.image import psnr
from worldgen.runtime.contact_sheet import grid
from worldgen.scenes.families.family import draw
from worldgen.scenes.rendering.renderer import render

BOX = ((-1.6, -1.6, -0.1), (1.6, 1.6, 1.6))  # around the table's objects, metres
_SAMPLES = 400_000


T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """A held-out scene and how it becomes a mesh: images of `size` pixels, voxels in metres, texture in texels."""

    family: str = "tabletop"
    seed: int = 0
    index: int = 0
    views: int = 24
    size: int = 128
    voxel: float = 0.02
    faces: int = 10_000
    texture: int = 640


@dataclass(frozen=True)
class Distance:
    """Mean distance of a surface's points to the true ones, and of these to it, metres."""

    there_m: float
    back_m: float

    @property
    def mean_m(self) -> float:
        """Of both directions."""
        return (self.there_m + self.back_m) / 2


@dataclass(frozen=True)
class ImageFigures:
    """How close a mesh's images come to the true ones, mean over the cameras, dB.

    psnr     over pixels all of whose 2 x 2 rays meet the mesh, as many as the true images have, mixed in linear light
    lowest   of the cameras
    centers  the same with one ray a pixel, which leaves outlines jagged
    whole    over all pixels, black where there is no mesh
    covered  share of the pixels that `psnr` is over
    """

    psnr: float
    lowest: float
    centers: float
    whole: float
    covered: float


@dataclass(frozen=True)
class Measured:
    """The figures of a scene, by name of the mesh or step.

    texture   height and width, texels
    left_out  notes of libraries that are not installed
    """

    faces: dict[str, int]
    texture: tuple[int, int]
    seconds: dict[str, float]
    distances: dict[str, Distance]
    images: dict[str, ImageFigures]
    left_out: list[str]


def around(count: int, size: int) -> Cameras:
    """Cameras [count], 3.2 m from the table's middle, at 15, 35 and 60 degrees in turn."""
    i = torch.arange(count)
    azimuth, elevation = i * (2 * math.pi / count), torch.deg2rad(torch.tensor([15.0, 35.0, 60.0]))[i % 3]
    flat = elevation.cos()
    away = torch.stack([azimuth.cos() * flat, azimuth.sin() * flat, elevation.sin()], -1)
    middle = torch.tensor([0.0, 0.0, 0.25])
    return Cameras.from_fov(look_at(middle + 3.2 * away, middle), 45.0, (size, size))


def seen_twice(clip: Clip) -> Tensor:
    """True surface points [n, 3] of the pixels whose point is visible to another camera too, in the box."""
    points = []
    for i in range(len(clip.cameras)):
        others = [j for j in range(len(clip.cameras)) if j != i]
        seen = backward_visible(clip.depth[i], clip.cameras[i], clip.depth[others], clip.cameras[others]).any(0)
        seen &= clip.depth[i, 0].isfinite()
        points.append(unproject(clip.cameras[i], clip.depth[i].nan_to_num(posinf=1.0))[seen])
    return inside(torch.cat(points).double(), 0.0)


def inside(points: Tensor, margin_m: float) -> Tensor:
    """Those of the points that are in the box and not within a margin of its sides."""
    lower, upper = torch.tensor(BOX, dtype=points.dtype)
    return points[((points > lower + margin_m) & (points < upper - margin_m)).all(-1)]


def distance(mesh: Mesh, truth: Tensor, voxel: float) -> Distance:
    """Mean distance of the mesh to the true points, and of these to the mesh, a voxel away from the box's sides."""
    found = surface_points(mesh, _SAMPLES)
    there = inside(truth, voxel)
    there = there[torch.randperm(len(there), generator=torch.Generator().manual_seed(0))[:_SAMPLES]]
    return Distance(
        float(nearest_neighbors(inside(found, voxel), truth, 1)[0].mean()),
        float(nearest_neighbors(there, found, 1)[0].mean()),
    )


def rendered_views(shape: Mesh | TexturedMesh, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Images of a mesh with one ray a pixel, and which pixels it covers."""
    rgb, depth = render_mesh(shape, cameras) if isinstance(shape, Mesh) else render_textured(shape, cameras)
    return rgb, depth.isfinite()


def compared(shape: Mesh | TexturedMesh, clip: Clip) -> tuple[ImageFigures, Tensor]:
    """The figures of a mesh's images, and those of 2 x 2 rays a pixel."""
    height, width = clip.cameras.hw
    single, hit = rendered_views(shape, clip.cameras)
    fine, fine_hit = rendered_views(shape, clip.cameras.resized((2 * height, 2 * width)))
    pool = torch.nn.functional.avg_pool2d
    rgb, covered = srgb_from_linear(pool(linear_from_srgb(fine), 2)), pool(fine_hit.float(), 2) == 1
    each = psnr(rgb, clip.rgb, covered)
    whole = psnr(rgb, clip.rgb).mean()
    centers = psnr(single, clip.rgb, hit).mean()
    share = covered.float().mean()
    return ImageFigures(*(float(value) for value in (each.mean(), each.min(), centers, whole, share))), rgb


def measure(scene: Settings, output: Path | None = None) -> Measured:
    """Everything about one scene; the GLBs and the sheet go to `output`."""
    cameras, bounds, seconds = around(scene.views, scene.size), torch.tensor(BOX), {}
    clip = render(draw(scene.family, scene.seed, [scene.index], True), cameras.reshape(1, scene.views))[0]

    def timed(name: str, make: Callable[[], T]) -> T:
        start = time.perf_counter()
        made = make()
        seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr, flush=True)
        return made

    surface = (clip.rgb, clip.depth, cameras, scene.voxel)
    fused = timed("fuse", lambda: largest_components(fuse_tsdf(*surface, bounds=bounds)))
    small = timed("simplify", lambda: simplify(fused, scene.faces))
    cut = timed("unwrap", lambda: unwrap(small, scene.texture))
    baked = timed("bake", lambda: bake(cut, clip.rgb, cameras))
    truth, left_out = seen_twice(clip), []
    meshes = {"fused": fused, "simplified": small}
    try:
        meshes["Open3D"] = largest_components(fuse_tsdf_open3d(*surface, bounds=bounds))
    except InputError as error:
        left_out.append(missing("Open3D", error))
    apart = {name: distance(mesh, truth, scene.voxel) for name, mesh in meshes.items()}
    if "Open3D" in meshes:
        theirs = surface_points(meshes["Open3D"], 4 * _SAMPLES, 1)
        apart["fused to Open3D"] = distance(fused, theirs, scene.voxel)
    shapes = {"vertex colors": fused, "simplified, vertex colors": small, "simplified, baked": baked}
    images = {name: compared(shape, clip) for name, shape in shapes.items()}
    if output is not None:
        write_png(output / "sheet.png", sheet(clip.rgb, [rgb for _, rgb in images.values()]))
        for name, shape in (("fused", fused), ("textured", baked)):
            write_glb(output / f"{name}.glb", shape)
    height, width = baked.texture.shape[1:]
    faces = {name: len(mesh.faces) for name, mesh in meshes.items()}
    figures = {name: figure for name, (figure, _) in images.items()}
    return Measured(faces, (height, width), seconds, apart, figures, left_out)


def sheet(truth: Tensor, made: list[Tensor]) -> Tensor:
    """Three views: the truth, what each mesh shows, and four times the error of the last."""
    rows = []
    for i in (0, 1, 2):
        error = (4 * (made[-1][i] - truth[i]).abs()).clamp(0, 1)
        rows.append([truth[i], *(rgb[i] for rgb in made), error])
    return grid(rows, enlarge=1)


def report_of(scene: Settings, found: Measured) -> Report:
    """The figures as tables."""
    apart = Table.of(
        {"surface": "", "faces": "", "to the truth mm": ".2f", "from it mm": ".2f", "mean mm": ".2f"},
        [
            (name, found.faces.get(name), 1e3 * d.there_m, 1e3 * d.back_m, 1e3 * d.mean_m)
            for name, d in found.distances.items()
        ],
        "Distance of the surface",
    )
    columns = {
        "mesh": "", "PSNR dB": ".2f", "lowest camera dB": ".2f", "one ray a pixel dB": ".2f",
        "whole images dB": ".2f", "covered share": ".2f",
    }  # fmt: skip
    images = Table.of(columns, [(name, *astuple(figures)) for name, figures in found.images.items()], "Images")
    seconds = Table.of({"step": "", "seconds": ".1f"}, list(found.seconds.items()), "Time")
    height, width = found.texture
    notes = [
        f"{scene.family} {scene.seed}/{scene.index} from {scene.views} images of {scene.size} x {scene.size} pixels "
        f"with exact depth, fused at {1e3 * scene.voxel:g} mm; texture of {height} x {width} texels.",
        *found.left_out,
    ]
    return Report.now("Textured meshes", [apart, images, seconds], notes)


def main() -> int:
    """Measure a scene, publish the figures and write them beside the GLBs and the sheet."""
    parser = command(__doc__)
    parser.add_argument("--family", default="tabletop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, default=0, help="number of the held-out scene")
    parser.add_argument("--views", type=int, default=24)
    parser.add_argument("--size", type=int, default=128, help="images' height and width, pixels")
    parser.add_argument("--voxel", type=float, default=0.02, help="side of a voxel, metres")
    parser.add_argument("--faces", type=int, default=10_000, help="triangles after simplification")
    parser.add_argument("--texture", type=int, default=640, help="texture's side, about, texels")
    parser.add_argument("--output", type=Path, default=Path("out/assets"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scene = Settings(**{field.name: getattr(given, field.name) for field in fields(Settings)})
    report = report_of(scene, measure(scene, given.output))
    return publish(report, given.report, given.output / "report.json")


if __name__ == "__main__":
    sys.exit(main())
