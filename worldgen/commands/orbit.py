"""`worldgen orbit`: an orbit of RGB-D frames around what images show."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from worldgen.commands.options import BETTER, Flag, Options, Output, required, without
from worldgen.commands.tables import solvers

if TYPE_CHECKING:
    from worldgen.core.world import World
    from worldgen.runtime.progress import Work


@dataclass(frozen=True)
class Orbit(Options):
    """Generate the orbit around what one image, or several with cameras, show; lift and export it.

    In Python: worldgen.orbit (worldgen/pipelines/orbit.py)
    """

    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], required("IMAGE")]
    """One image, or several that --cameras names."""
    output: Output
    """New or empty folder for the results."""
    cameras: Annotated[Path | None, without("one image, whose camera is frame 0 of the orbit", "PATH")] = None
    """transforms.json (nerfstudio) or another capture that names the images; its other frames are rendered too and
    scored. Or a file of their poses."""
    frames: int = 24
    """Length of the orbit, a full circle."""
    elevation_deg: float = 25.0
    """Degrees above the horizon a single image was taken from."""
    radius: Annotated[float | None, without("predicted by the model, not metric", "FLOAT")] = None
    """Distance from a single image to what it shows, in metres."""
    fov_deg: Annotated[float | None, without("EXIF, else 55", "FLOAT")] = None
    """Field of view of a single image over its shorter side."""
    views: Annotated[Path | None, without("an orbit", "PATH")] = None
    """transforms.json, or any other file of cameras, to render instead of an orbit."""
    up: str = "auto"
    """Up in the world of --cameras: auto (estimated), an axis such as +z or -y, or x,y,z."""
    skip_missing: Flag = False
    """Leave out images that --cameras names and that are missing."""
    fit: Literal["crop", "pad"] = "crop"
    """How images become square."""
    size_px: Annotated[int | None, without("what the model was trained at", "INT")] = None
    """Side of the frames."""
    steps: Annotated[int | None, without("the model's own, 20 of most", "INT")] = None
    """Sampling steps."""
    guidance: Annotated[float | None, without("the model's own, 1.5 of most", "FLOAT")] = None
    """Guidance towards the given images; 1 = none."""
    solver: Annotated[str, tyro.conf.arg(help=f"Of the sampler: {solvers()}.")] = "euler"
    seed: int = 0
    """Of the noise."""
    model: str = "tiny"
    """Name of embedded weights (tiny or tiny-4: a research model for 64-pixel images), or a folder with others."""
    device: str = "auto"
    """Where it computes, such as cpu or cuda; auto is a GPU where there is one."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Of the network's products; auto is bf16 where the device has such arithmetic: sooner, and nearly the same."""
    overwrite: Flag = False
    """Replace the output folder, if it holds the results of an orbit and nothing else."""

    def run(self) -> None:
        """Check, generate, save, and print the output folder."""
        from worldgen.runtime.progress import Work, shown

        with shown(not self.quiet) as report:
            world = self._saved(Work(report, {"loading": 10.0, "generating": 80.0, "writing": 10.0}))
        print(f"{len(world.clip)} frames, {len(world.points)} points, {len(world.mesh.faces)} triangles: {self.output}")
        if world.held_out is not None and (s := world.held_out.scores) is not None:
            print(
                f"{len(s['names'])} held-out views: PSNR {s['mean_psnr_db']:.2f} dB, SSIM {s['mean_ssim']:.3f}; "
                f"copy-nearest {s['mean_copy_nearest_psnr_db']:.2f} dB, {s['mean_copy_nearest_ssim']:.3f}"
            )
        if about := world.manifest["model"].get("about"):
            print(f"{world.manifest['model']['name']} is {about}; {BETTER}")

    def _saved(self, work: "Work") -> "World":
        """The world, when it is in its folder."""
        work.begin("loading")
        from worldgen.core.world import WORLD
        from worldgen.evaluation.held_out import scored
        from worldgen.models.world_model import WorldModel
        from worldgen.pipelines.orbit import orbit
        from worldgen.runtime.atomic_dir import new_folder
        from worldgen.runtime.devices import pick_device

        inputs = [p for p in (*self.images, self.cameras, self.views, self.model) if p is not None]
        with new_folder(self.output, self.overwrite, WORLD, inputs) as folder:
            model = WorldModel.load(self.model, pick_device(self.device), self.precision)
            world = orbit(
                model, self.images, self.cameras, self.frames, self.seed, elevation_deg=self.elevation_deg,
                radius=self.radius, fov_deg=self.fov_deg, views=self.views, fit=self.fit, size_px=self.size_px,
                up=self.up, skip_missing=self.skip_missing, steps=self.steps, guidance=self.guidance,
                solver=self.solver, progress=work.part("generating"),
            )  # fmt: skip
            work.begin("writing")
            world = scored(world)
            world.write(folder)
        return world
