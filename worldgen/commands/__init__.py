"""The commands, one file each. Each runs the same function as the Python API.

A command is a frozen dataclass whose fields are its options and whose `run` does the work; `COMMANDS` names them all.
"""

from typing import Annotated, Any, Protocol, Union, runtime_checkable

import tyro

from worldgen.commands.average import Average
from worldgen.commands.blend import Blend
from worldgen.commands.cameras import CameraTools
from worldgen.commands.curate import Curate
from worldgen.commands.evaluate import Evaluate
from worldgen.commands.orbit import Orbit
from worldgen.commands.plan import Plan
from worldgen.commands.scenes import Scenes
from worldgen.commands.train import Train
from worldgen.commands.train_codec import TrainCodec

__all__ = ["COMMANDS", "Command", "parse"]


@runtime_checkable
class Command(Protocol):
    """What `parse` returns: options that can be run."""

    def run(self) -> None:
        """Do it."""
        ...


COMMANDS: dict[str, type[Command]] = {
    "orbit": Orbit,
    "train": Train,
    "average": Average,
    "blend": Blend,
    "train-codec": TrainCodec,
    "plan": Plan,
    "evaluate": Evaluate,
    "scenes": Scenes,
    "curate": Curate,
    "cameras": CameraTools,
}


def parse(arguments: list[str]) -> Command:
    """Parse the options of a command; prints help or the usage error and exits (0 or 2) otherwise.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The command's dataclass, one of `COMMANDS`.
    """
    kinds: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())]  # noqa: UP007
    return tyro.cli(
        kinds,
        prog="worldgen",
        args=arguments,
        description="A world model you steer with a camera and take apart as geometry.",
    )
