"""`worldgen cameras`: paths in files shown, described, checked and converted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from geometry.io.formats import listed, read_cameras, write_cameras

_READ, _WRITTEN = listed("cameras"), listed("cameras", written=True)


@dataclass(frozen=True)
class Show:
    """Draw cameras from above and from the side, say where they look, and what is suspicious about them.

    In Python: geometry.describe
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help=f"{_READ}.")]
    output: Path | None = None
    """PNG to draw to (default: say in words only)."""
    every: int = 0
    """Describe every Nth camera (default: about ten in all)."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the PNG if it is there."""

    def run(self) -> None:
        """Read, describe, draw."""
        from geometry.camera.drawing import draw_cameras
        from geometry.io.images import write_png
        from geometry.trajectory.checks import describe, lint
        from worldgen.runtime.atomic_dir import new_file

        cameras = read_cameras(self.file)
        every = self.every or max(1, len(cameras) // 10)
        print(describe(cameras[::every]))
        for finding in lint(cameras):
            print(f"suspicious: {finding}")
        if self.output is not None:
            with new_file(self.output, self.overwrite, [self.file]):
                write_png(self.output, draw_cameras(cameras))
            print(self.output)


@dataclass(frozen=True)
class Convert:
    """Convert cameras between file formats, chosen by the files' names.

    In Python: geometry.io.formats.read_cameras and write_cameras
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help=f"{_READ}.")]
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help=f"{_WRITTEN}.")]
    fov_deg: float = 50.0
    """Field of view over the shorter side, where the source keeps poses alone."""
    size: tuple[int, int] = (480, 640)
    """Height and width of images, where the source keeps poses alone."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the target if it is a file that is there."""

    def run(self) -> None:
        """Read and write."""
        from worldgen.runtime.atomic_dir import new_file

        with new_file(self.target, self.overwrite, [self.source]):
            cameras = read_cameras(self.source, self.fov_deg, self.size)
            write_cameras(self.target, cameras)
        print(f"{len(cameras)} cameras: {self.target}")


@dataclass(frozen=True)
class CameraTools:
    """Show, check and convert camera paths."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Show, tyro.conf.subcommand("show")] | Annotated[Convert, tyro.conf.subcommand("convert")]
    ]

    def run(self) -> None:
        """Do it."""
        self.what.run()
