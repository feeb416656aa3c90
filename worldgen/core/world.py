"""`World`: what was generated, with everything it was generated from, ready to be saved."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from geometry.similarity import Similarity
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.contact_sheet import depth_image, grid, html, sheet, show
from worldgen.runtime.manifest import tried, write_json

WORLD = "world"  # what the folder's manifest says it holds
_FPS = 12.0
_VIDEO_SIDE = 384
_SHEET_COLUMNS = 8


@as_value
@dataclass(frozen=True)
class HeldOut:
    """Further images of a capture: what was rendered from their cameras, and the truth.

    scores  of the rendered images against it (`worldgen.evaluation.held_out.scored`); None = not computed
    """

    rendered: Clip
    truth: Clip
    names: tuple[str, ...]
    scores: dict[str, Any] | None = None


@as_value
@dataclass(frozen=True)
class World:
    """A generated world.

    clip      the path's frames [f] with depth, in the caller's frame and units; a given image among them is unchanged
    given     the given images as the model saw them, with estimated depth
    points, mesh  what the frames' depth makes
    manifest  how it came about: seed, hashes, versions, scale and frame; the same for the same inputs
    failed    what could not be made, by name, and why: it is left out, and the manifest says so
    timings   seconds
    """

    clip: Clip
    given: Clip
    points: PointCloud
    mesh: Mesh
    manifest: dict[str, Any]
    held_out: HeldOut | None = None
    timings: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def before(self, moved: Similarity) -> "World":
        """The world as it was before it was moved, its positions in float64.

        Args:
            moved: What was done to it, such as bringing it near the origin.

        Returns:
            The world in the frame and unit from before.
        """

        def clip(part: Clip) -> Clip:
            return replace(part, cameras=moved.undo(part.cameras))

        there = self.held_out
        held_out = None if there is None else replace(there, rendered=clip(there.rendered), truth=clip(there.truth))
        points, mesh = moved.undo(self.points), moved.undo(self.mesh)
        return replace(self, clip=clip(self.clip), given=clip(self.given), points=points, mesh=mesh, held_out=held_out)

    def save(self, folder: Path | str, overwrite: bool = False) -> None:
        """Write everything to a new folder, which appears only when it is complete (`write`).

        Args:
            folder: New or empty; a link stands for the folder it points to.
            overwrite: Replace the folder of another world, if it holds nothing but what worldgen wrote.

        Raises:
            InputError: The folder may not be replaced, or can't be written.
        """
        with new_folder(Path(folder), overwrite, WORLD) as out:
            self.write(out)

    def write(self, out: Path) -> None:
        """Write everything into a folder that is there.

        video.mp4, contact_sheet.png, frames/*.png, depth/*.png (16 bits, unit in the manifest, 65535 = sky),
        given/*.png, transforms.json (all of these frames), points.ply, mesh.glb, manifest.json, timings.json;
        with held-out images held_out/*.png (rendered) and held_out.png (rendered above truth). Points and a mesh that
        are empty are left out. Where one of the files that repeat or add to the frames cannot be written, it is left
        out with a note, and the manifest says why (`failed`): the frames are not lost.

        Args:
            out: The folder.

        Raises:
            InputError: Frames, depth, cameras or manifest can't be written.
        """
        unit = depth_unit(torch.cat([self.clip.depth, self.given.depth]))
        frames = _write_frames(out, "frames", "depth", self.clip, unit)
        given = _write_frames(out, "given", "given_depth", self.given, unit)
        cameras = type(self.clip.cameras).cat([self.clip.cameras, self.given.cameras])
        names = [*frames, *given]
        write_transforms(out / "transforms.json", cameras, [rgb for rgb, _ in names], [depth for _, depth in names],
                         extra={"depth_unit_scale_factor": unit})  # fmt: skip
        failed = dict(self.failed)
        for name, write in self._further_files().items():
            if why := tried(f"{name} is left out", lambda path=out / name, write=write: write(path))[1]:
                failed[name] = why
        manifest = self.manifest | {"depth_png_metres_per_unit": unit} | ({"failed": failed} if failed else {})
        write_json(out / "manifest.json", manifest)
        write_json(out / "timings.json", self.timings)

    def _further_files(self) -> dict[str, Callable[[Path], None]]:
        """What can be left out: the files by name, each with its writer."""
        made_by, unit = f"worldgen {version('worldgen')}", self.manifest.get("unit", "metres")
        scale = max(1, _VIDEO_SIDE // self.clip.cameras.hw[0])
        files: dict[str, Callable[[Path], None]] = {
            "video.mp4": lambda path: write_mp4(path, self.clip.rgb, _FPS, scale=scale),
            "contact_sheet.png": lambda path: write_png(path, self.contact_sheet()),
        }
        if len(self.points):
            files["points.ply"] = lambda path: write_ply(path, self.points, (made_by,), unit=unit)
        if len(self.mesh.faces):
            extras = {"generator": made_by, "units": unit}
            files["mesh.glb"] = lambda path: write_glb(path, self.mesh, extras)
        if (held_out := self.held_out) is not None:
            files["held_out"] = lambda folder: _write_images(folder, held_out.rendered.rgb)
            pair = [list(held_out.rendered.rgb), list(held_out.truth.rgb)]
            files["held_out.png"] = lambda path: write_png(path, grid(pair))
        return files

    def _facts(self) -> str:
        """What its repr tells."""
        more = "" if self.held_out is None else f", {len(self.held_out.truth)} held out"
        metric = "" if self.manifest.get("metric", True) else ", not metric"
        parts = [f"{len(self.clip)} frames and {len(self.given)} given{more}", f"{len(self.points)} points"]
        return ", ".join([*parts, f"{len(self.mesh.faces)} triangles{metric}"]) + f"; clip={self.clip!r}"

    def show(self) -> None:
        """Show the given images and the frames: in a notebook below the cell, elsewhere in the system's viewer."""
        show(sheet(self.clip.rgb, self.clip.depth))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html(repr(self), sheet(self.clip.rgb, self.clip.depth))

    def contact_sheet(self) -> torch.Tensor:
        """An image [3, H, W] of the given images, then every frame with its depth below."""
        finite = self.clip.depth[self.clip.depth.isfinite() & (self.clip.depth > 0)]
        near, far = (float(finite.quantile(q)) for q in (0.02, 0.9)) if len(finite) else (1.0, 2.0)
        far = max(far, 1.01 * near)  # also of depth that is the same everywhere
        rows = [list(self.given.rgb[:_SHEET_COLUMNS])]
        for start in range(0, len(self.clip), _SHEET_COLUMNS):
            part = self.clip.frames(slice(start, start + _SHEET_COLUMNS))
            rows += [list(part.rgb), [depth_image(depth, near, far) for depth in part.depth]]
        return grid(rows)


def _numbers(count: int) -> list[str]:
    return [f"{i:04d}" for i in range(count)]


def _write_images(folder: Path, images: torch.Tensor) -> None:
    for name, rgb in zip(_numbers(len(images)), images):
        write_png(folder / f"{name}.png", rgb)


def _write_frames(out: Path, rgb_folder: str, depth_folder: str, clip: Clip, unit: float) -> list[tuple[str, str]]:
    names = [(f"{rgb_folder}/{n}.png", f"{depth_folder}/{n}.png") for n in _numbers(len(clip))]
    for (rgb_name, depth_name), rgb, depth in zip(names, clip.rgb, clip.depth):
        write_png(out / rgb_name, rgb)
        write_depth_png(out / depth_name, depth, unit)
    return names
