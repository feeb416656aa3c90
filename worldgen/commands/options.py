"""Options that several commands share, and how options are written.

Nothing here, and nothing at the top of a command's file, may load torch: help has to come at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

BETTER = "others are given by --model FOLDER, and made as docs/guides/training.md says"
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Flag = Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")]


def without(default: str, metavar: str | None = None, **more: Any) -> Any:
    """Of an option that may be left out: what happens then, and how its value is called."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {default})", metavar=metavar, **more)


def required(metavar: str, **more: Any) -> Any:
    """Of positional arguments of which there is at least one."""
    return tyro.conf.arg(help_behavior_hint="(required)", metavar=f"{metavar} [{metavar} ...]", **more)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every command."""

    quiet: Flag = False
    """Show no progress and no notes: results and errors only."""


@dataclass(frozen=True)
class RunOptions(Options):
    """Options of everything that reads a run's configuration."""

    config: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CONFIG")]
    """YAML file, or the name of one in the package, such as tiny."""
    overrides: Annotated[tyro.conf.Positional[tuple[str, ...]], without("none", "[KEY=VALUE ...]")] = ()
    """What differs from the file: section.key=value each."""
