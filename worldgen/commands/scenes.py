"""`worldgen scenes`: procedural scenes to look at."""

from dataclasses import dataclass
from typing import Annotated

from worldgen.commands.options import Flag, Options, Output, without
from worldgen.commands.tables import families as listed


@dataclass(frozen=True)
class Scenes(Options):
    """Render procedural scenes to look at: contact sheets, videos with depth, and the scenes as animated GLB.

    In Python: worldgen.scenes.gallery.write_gallery
    """

    output: Output
    """New or empty folder for the results."""
    families: Annotated[tuple[str, ...], without("all", "[FAMILY ...]", help=f"Some of {listed()}.")] = ()
    seed: int = 0
    """Of the series of scenes."""
    size_px: int = 128
    """Side of the frames."""
    frames: int = 36
    """Length of the videos, two seconds."""
    overwrite: Flag = False
    """Replace the output folder, if it holds such a gallery and nothing else."""

    def run(self) -> None:
        """Render, save, and print the output folder."""
        from worldgen.scenes.families.family import FAMILIES
        from worldgen.scenes.gallery import write_gallery

        chosen = list(self.families) or list(FAMILIES)
        write_gallery(chosen, self.output, self.seed, self.size_px, self.frames, self.overwrite, not self.quiet)
        print(f"{', '.join(chosen)}: {self.output}")
