"""`worldgen blend`: a model between two."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from worldgen.commands.options import Options, Output


@dataclass(frozen=True)
class Blend(Options):
    """Make a model between two of the same network, such as one and what training on turned it into.

    Compare several by `worldgen evaluate orbit --models FOLDER FOLDER`.
    In Python: worldgen.training.blending.blend
    """

    first: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FIRST")]
    """Name of embedded weights, or a folder."""
    second: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SECOND")]
    """The other."""
    output: Output
    """New folder for the model."""
    share: float = 0.5
    """Of the second; 0 = the first, 1 = the second."""

    def run(self) -> None:
        """Blend, save, and print the output folder."""
        from worldgen.training.blending import blend

        print(blend(self.first, self.second, self.share, self.output))
