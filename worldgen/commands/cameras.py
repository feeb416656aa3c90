"""`worldgen cameras`: paths in files shown, described, checked and converted."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from worldgen.commands.options import Flag, Options, without
from worldgen.commands.tables import camera_formats

_READ, _WRITTEN = camera_formats(), camera_formats(written=True)


@dataclass(frozen=True)
class Show(Options):
    """Draw cameras from above and from the side, say where they look, and what is suspicious about them.

    In Python: geometry.describe
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE", help=f"{_READ}.")]
    output: Annotated[Path | None, without("say in words only", "PNG", aliases=["-o"])] = None
    """Image to draw to."""
    every: Annotated[int, without("about ten in all")] = 0
    """Describe every Nth camera."""
    overwrite: Flag = False
    """Replace the PNG if it is there."""
    fov_deg: Annotated[float | None, without("50", "FLOAT")] = None
    """Field of view over the shorter side, where the file keeps poses alone."""
    size: Annotated[tuple[int, int] | None, without("of the file", "HEIGHT WIDTH")] = None
    """Height and width of images, where the file keeps poses alone."""

    def run(self) -> None:
        """Read, describe, draw."""
        from geometry.camera.cameras import Cameras
        from geometry.camera.drawing import draw_cameras
        from geometry.io.captures.posed import PosedImages
        from geometry.io.formats import read
        from geometry.io.images import write_png
        from geometry.trajectory.checks import describe, lint
        from worldgen.runtime.atomic_dir import new_file

        with nullcontext() if self.output is None else new_file(self.output, self.overwrite, [self.file]):
            found = read(self.file, "cameras", fov_deg=self.fov_deg, hw=self.size, need_images=False)
            parts = found.by_size() if isinstance(found, PosedImages) else [found]
            every = self.every or max(1, len(found) // 10)
            for part in parts:
                print(describe(part, every))
            for finding in lint(parts):
                print(f"suspicious: {finding}")
            if self.output is not None:
                # The frusta are of the first size; only their shape depends on it.
                alike = [part if part.hw == parts[0].hw else part.resized(parts[0].hw) for part in parts]
                write_png(self.output, draw_cameras(Cameras.cat(alike)))
                print(self.output)


@dataclass(frozen=True)
class Convert(Options):
    """Convert cameras between file formats, chosen by the files' names; images keep their names.

    In Python: geometry.io.formats.convert_cameras
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE", help=f"{_READ}.")]
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TARGET", help=f"{_WRITTEN}.")]
    fov_deg: Annotated[float | None, without("50", "FLOAT")] = None
    """Field of view over the shorter side, where the source keeps poses alone."""
    size: Annotated[tuple[int, int] | None, without("of the source", "HEIGHT WIDTH")] = None
    """Height and width of images, where the source keeps poses alone and the target does not."""
    overwrite: Flag = False
    """Replace the target if it is a file that is there."""

    def run(self) -> None:
        """Read and write."""
        from geometry.io.formats import convert_cameras
        from worldgen.runtime.atomic_dir import new_file

        with new_file(self.target, self.overwrite, [self.source]):
            count = convert_cameras(self.source, self.target, self.fov_deg, self.size)
        print(f"{count} cameras: {self.target}")


@dataclass(frozen=True)
class CameraTools:
    """Show, check and convert camera paths."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Show, tyro.conf.subcommand("show")] | Annotated[Convert, tyro.conf.subcommand("convert")]
    ]

    def run(self) -> None:
        """Do it."""
        self.what.run()
