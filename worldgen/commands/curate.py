"""`worldgen curate`: captures to shards of clips."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from worldgen.commands.options import Options, Output, required
from worldgen.data.limits import Curation


@dataclass(frozen=True)
class Curate(Options):
    """Filter captures of posed images and videos: keep good clips as shards, report what was dropped and why.

    In Python: worldgen.data.curation.curate
    """

    sources: Annotated[tyro.conf.Positional[tuple[Path, ...]], required("SOURCE")]
    """Files and folders of any capture: transforms.json, COLMAP, LLFF, CO3D, nuScenes, RealEstate10K and others."""
    output: Output
    """New folder for shards and report, or one that an interrupted run left."""
    curation: Annotated[Curation, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff] = field(
        default_factory=Curation
    )

    def run(self) -> None:
        """Curate, and print a summary."""
        from worldgen.data.curation import curate

        report = curate(self.sources, self.output, self.curation, progress=not self.quiet)
        dropped = f"{report['images'] - report['kept']} images and {report['unreadable']} captures dropped"
        print(f"{report['clips']} clips of {report['kept']} images kept; {dropped}: {self.output / 'report.md'}")
