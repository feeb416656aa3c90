"""`worldgen orbit`: an orbit of RGB-D frames around what images show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from worldgen.commands.progress import ProgressBar
from worldgen.sampling.solvers import SOLVERS


@dataclass(frozen=True)
class Orbit:
    """Generate the orbit around what one image, or several with cameras, show; lift and export it.

    In Python: worldgen.orbit (worldgen/pipelines/orbit.py)
    """

    images: tyro.conf.Positional[tuple[Path, ...]]
    """One image, or several that --cameras names."""
    output: Path
    """New or empty folder for the results."""
    cameras: Path | None = None
    """transforms.json (nerfstudio) or another capture that names the images; its other frames are rendered too and
    scored. Or a file of their poses."""
    frames: int = 24
    """Length of the orbit, a full circle."""
    elevation_deg: float = 25.0
    """Degrees above the horizon a single image was taken from."""
    radius: float | None = None
    """Distance from a single image to what it shows, in metres (default: predicted by the model, not metric)."""
    fov_deg: float | None = None
    """Field of view of a single image over its shorter side (default: EXIF, else 55)."""
    views: Path | None = None
    """transforms.json, or any other file of cameras, to render instead of an orbit."""
    up: str = "auto"
    """Up in the world of --cameras: auto (estimated), an axis such as +z or -y, or x,y,z."""
    skip_missing: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave out images that --cameras names and that are missing."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    size_px: int | None = None
    """Side of the frames (default: what the model was trained at)."""
    steps: int | None = None
    """Sampling steps (default: the model's own, 20 of most)."""
    guidance: float | None = None
    """Guidance towards the given images; 1 = none (default: the model's own, 1.5 of most)."""
    solver: Annotated[str, tyro.conf.arg(help=f"Of the sampler: {', '.join(SOLVERS)}.")] = "euler"
    seed: int = 0
    model: str = "tiny"
    """Name of embedded weights, or a folder."""
    device: str = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Of the network's products; auto is bf16 where the device has such arithmetic: sooner, and nearly the same."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the output folder, if it holds the results of an orbit and nothing else."""

    def run(self) -> None:
        """Check, generate, save, and print the output folder."""
        from worldgen.core.world import WORLD
        from worldgen.evaluation.held_out import scored
        from worldgen.models.world_model import WorldModel
        from worldgen.pipelines.orbit import orbit
        from worldgen.runtime.atomic_dir import new_folder
        from worldgen.runtime.devices import pick_device

        inputs = [p for p in (*self.images, self.cameras, self.views, self.model) if p is not None]
        with new_folder(self.output, self.overwrite, WORLD, inputs) as folder:
            model = WorldModel.load(self.model, pick_device(self.device), self.precision)
            with ProgressBar() as bar:
                world = orbit(
                    model, self.images, self.cameras, self.frames, self.seed, elevation_deg=self.elevation_deg,
                    radius=self.radius, fov_deg=self.fov_deg, views=self.views, fit=self.fit, size_px=self.size_px,
                    up=self.up, skip_missing=self.skip_missing,
                    steps=self.steps, guidance=self.guidance, solver=self.solver, on_start=bar.start, on_step=bar.step,
                )  # fmt: skip
            world = scored(world)
            world.write(folder)
        print(f"{len(world.clip)} frames, {len(world.points)} points, {len(world.mesh.faces)} triangles: {self.output}")
        if world.held_out is not None and (s := world.held_out.scores) is not None:
            print(
                f"{len(s['names'])} held-out views: PSNR {s['mean_psnr_db']:.2f} dB, SSIM {s['mean_ssim']:.3f}; "
                f"copy-nearest {s['mean_copy_nearest_psnr_db']:.2f} dB, {s['mean_copy_nearest_ssim']:.3f}"
            )
