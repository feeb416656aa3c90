"""`worldgen train-codec`: train a codec."""

from dataclasses import dataclass

from worldgen.commands.options import RunOptions


@dataclass(frozen=True)
class TrainCodec(RunOptions):
    """Train a codec of images or videos with depth (such as vae); continues from the run's own checkpoint.

    In Python: worldgen.training.codec.run.train_codec
    """

    def run(self) -> None:
        """Train to the end, or to the first interrupt."""
        from worldgen.training.codec.run import train_codec

        train_codec(self.config, self.overrides, progress=not self.quiet)
