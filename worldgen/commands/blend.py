"""`worldgen blend`: a model between two."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Blend:
    """Make a model between two of the same network, such as one and what training on turned it into.

    Compare several by `worldgen evaluate orbit --models FOLDER FOLDER`.
    In Python: worldgen.training.blending.blend
    """

    first: tyro.conf.Positional[str]
    """Name of embedded weights, or a folder."""
    second: tyro.conf.Positional[str]
    """The other."""
    output: Path
    """New folder for the model."""
    share: float = 0.5
    """Of the second; 0 = the first, 1 = the second."""

    def run(self) -> None:
        """Blend, save, and print the output folder."""
        from worldgen.training.blending import blend

        print(blend(self.first, self.second, self.share, self.output))
