"""`World`: what was generated, with everything it was generated from, ready to be saved."""

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from geometry.io.assets.gltf import write_glb
from geometry.io.assets.ply import write_ply
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.images import depth_unit, write_depth_png, write_png
from geometry.io.video import write_mp4
from geometry.mesh.meshes import Mesh
from geometry.points.pointclouds import PointCloud
from worldgen.core.clip import Clip
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.contact_sheet import depth_image, grid
from worldgen.runtime.manifest import write_json

_FPS = 12.0
_VIDEO_SIDE = 384
_SHEET_COLUMNS = 8


@dataclass(frozen=True)
class HeldOut:
    """Further images of a capture: what was rendered from their cameras, and the truth.

    scores  of the rendered images against it (`worldgen.evaluation.held_out.scored`); None = not computed
    """

    rendered: Clip
    truth: Clip
    names: tuple[str, ...]
    scores: dict[str, Any] | None = None


@dataclass(frozen=True)
class World:
    """A generated world.

    clip      the path's frames [f] with depth, in the caller's frame and units; a given image among them is unchanged
    given     the given images as the model saw them, with estimated depth
    points, mesh  what the frames' depth makes
    manifest  how it came about: seed, hashes, versions, scale and frame; the same for the same inputs
    timings   seconds
    """

    clip: Clip
    given: Clip
    points: PointCloud
    mesh: Mesh
    manifest: dict[str, Any]
    held_out: HeldOut | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path | str, overwrite: bool = False) -> None:
        """Write everything to a new folder, which appears only when it is complete.

        video.mp4, contact_sheet.png, frames/*.png, depth/*.png (16 bits, unit in the manifest, 65535 = sky),
        given/*.png, transforms.json (all of these frames), points.ply, mesh.glb, manifest.json, timings.json;
        with held-out images held_out/*.png (rendered) and held_out.png (rendered above truth).
        Raises InputError when the folder exists (unless `overwrite`) or can't be written.
        """
        with new_folder(Path(folder), overwrite) as out:
            unit = depth_unit(torch.cat([self.clip.depth, self.given.depth]))
            frames = _write_frames(out, "frames", "depth", self.clip, unit)
            given = _write_frames(out, "given", "given_depth", self.given, unit)
            cameras = type(self.clip.cameras).cat([self.clip.cameras, self.given.cameras])
            names = [*frames, *given]
            write_transforms(out / "transforms.json", cameras, [rgb for rgb, _ in names], [depth for _, depth in names],
                             extra={"depth_unit_scale_factor": unit})  # fmt: skip
            write_mp4(out / "video.mp4", self.clip.rgb, _FPS, scale=max(1, _VIDEO_SIDE // self.clip.cameras.hw[0]))
            write_png(out / "contact_sheet.png", self.contact_sheet())
            comments = (f"worldgen {version('worldgen')}", "metres" if self.manifest["metric"] else "not metric")
            write_ply(out / "points.ply", self.points, comments)
            write_glb(out / "mesh.glb", self.mesh, {"generator": comments[0], "units": comments[1]})
            if self.held_out is not None:
                for name, rgb in zip(_numbers(len(self.held_out.rendered)), self.held_out.rendered.rgb):
                    write_png(out / "held_out" / f"{name}.png", rgb)
                write_png(out / "held_out.png", grid([list(self.held_out.rendered.rgb), list(self.held_out.truth.rgb)]))
            write_json(out / "manifest.json", self.manifest | {"depth_png_metres_per_unit": unit})
            write_json(out / "timings.json", self.timings)

    def contact_sheet(self) -> torch.Tensor:
        """An image [3, H, W] of the given images, then every frame with its depth below."""
        finite = self.clip.depth[self.clip.depth.isfinite() & (self.clip.depth > 0)]
        near, far = (float(finite.quantile(q)) for q in (0.02, 0.9)) if len(finite) else (1.0, 2.0)
        rows = [list(self.given.rgb[:_SHEET_COLUMNS])]
        for start in range(0, len(self.clip), _SHEET_COLUMNS):
            part = self.clip.frames(slice(start, start + _SHEET_COLUMNS))
            rows += [list(part.rgb), [depth_image(depth, near, far) for depth in part.depth]]
        return grid(rows)


def _numbers(count: int) -> list[str]:
    return [f"{i:04d}" for i in range(count)]


def _write_frames(out: Path, rgb_folder: str, depth_folder: str, clip: Clip, unit: float) -> list[tuple[str, str]]:
    names = [(f"{rgb_folder}/{n}.png", f"{depth_folder}/{n}.png") for n in _numbers(len(clip))]
    for (rgb_name, depth_name), rgb, depth in zip(names, clip.rgb, clip.depth):
        write_png(out / rgb_name, rgb)
        write_depth_png(out / depth_name, depth, unit)
    return names
