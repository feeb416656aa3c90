"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class RunOptions:
    """Options of everything that reads a run's configuration."""

    config: tyro.conf.Positional[Path]
    """YAML file (see configs/)."""
    overrides: tyro.conf.Positional[tuple[str, ...]] = ()
    """section.key=value ..."""
