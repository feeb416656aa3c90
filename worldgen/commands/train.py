"""`worldgen train`: train a model."""

from dataclasses import dataclass

from worldgen.commands.options import RunOptions


@dataclass(frozen=True)
class Train(RunOptions):
    """Train a model; continues from the run's own checkpoint.

    In Python: worldgen.training.engine.run.train
    """

    def run(self) -> None:
        """Train to the end, or to the first interrupt."""
        from worldgen.training.engine.run import train

        train(self.config, self.overrides, progress=not self.quiet)
