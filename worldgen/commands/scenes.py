"""`worldgen scenes`: procedural scenes to look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from worldgen.commands.progress import ProgressBar
from worldgen.scenes.families.family import FAMILIES, listed


@dataclass(frozen=True)
class Scenes:
    """Render procedural scenes to look at: contact sheets, videos with depth, and the scenes as animated GLB.

    In Python: worldgen.scenes.gallery.write_gallery
    """

    output: Path
    """New or empty folder for the results."""
    families: Annotated[tuple[str, ...], tyro.conf.arg(help=f"Some of {listed()}; default: all.")] = ()
    seed: int = 0
    size_px: int = 128
    """Side of the frames."""
    frames: int = 36
    """Length of the videos, two seconds."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the output folder, if it holds such a gallery and nothing else."""

    def run(self) -> None:
        """Render, save, and print the output folder."""
        from worldgen.scenes.gallery import write_gallery

        families = list(self.families) or list(FAMILIES)
        with ProgressBar() as bar:
            write_gallery(families, self.output, self.seed, self.size_px, self.frames, self.overwrite, bar.at)
        print(f"{', '.join(families)}: {self.output}")
