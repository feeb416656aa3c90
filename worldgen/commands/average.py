"""`worldgen average`: a model with averaged weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from worldgen.commands.options import Options, Output


@dataclass(frozen=True)
class Average(Options):
    """Make the model of a run with its weights averaged over a length chosen now.

    Compare several by `worldgen evaluate orbit --models FOLDER FOLDER`.
    In Python: worldgen.training.engine.averages.average
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN-FOLDER")]
    """Output folder of a run with train.averages."""
    length: float
    """Standard deviation of the time the average looks back to, as a share of the run (sigma_rel of Karras et al.)."""
    output: Output
    """New folder for the model."""

    def run(self) -> None:
        """Average, save, and print the output folder."""
        from worldgen.training.engine.averages import average

        print(average(self.run_folder, self.length, self.output))
