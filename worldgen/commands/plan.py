"""`worldgen plan`: what a training run costs."""

from dataclasses import dataclass

from worldgen.commands.options import RunOptions


@dataclass(frozen=True)
class Plan(RunOptions):
    """Say what a training run costs, before anything of it is allocated: parameters, memory, FLOPs, time.

    In Python: worldgen.training.planning.describe
    """

    device: str = "cpu"
    """What the run is planned for; the time is estimated where it is here."""

    def run(self) -> None:
        """Print the plan."""
        from worldgen.runtime.config import load
        from worldgen.training.config.run import RunConfig
        from worldgen.training.planning import describe

        print(describe(load(RunConfig, self.config, self.overrides), self.device))
