"""`worldgen curate`: captures to shards of clips."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from worldgen.commands.progress import ProgressBar
from worldgen.data.curation import Curation


@dataclass(frozen=True)
class Curate:
    """Filter captures of posed images and videos: keep good clips as shards, report what was dropped and why.

    In Python: worldgen.data.curation.curate
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Files and folders of any capture: transforms.json, COLMAP, LLFF, CO3D, nuScenes, RealEstate10K and others."""
    output: Path
    """New folder for shards and report, or one that an interrupted run left."""
    curation: Annotated[Curation, tyro.conf.arg(name="")] = field(default_factory=Curation)

    def run(self) -> None:
        """Curate, and print a summary."""
        from worldgen.data.curation import curate

        with ProgressBar() as bar:
            report = curate(self.sources, self.output, self.curation, bar.at)
        dropped = f"{report['images'] - report['kept']} images and {report['unreadable']} captures dropped"
        print(f"{report['clips']} clips of {report['kept']} images kept; {dropped}: {self.output / 'report.md'}")
