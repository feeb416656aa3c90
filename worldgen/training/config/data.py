"""Where the clips of a training run come from."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DataConfig:
    """The endless stream of scenes, and captures mixed into it.

    seed         of the series of scenes
    views        images rendered of each scene, from which a step draws its frames
    pool         batches of scenes rendered together
    reuse        how often each scene is used, each time with other frames, levels and noise
    supersample  rays a pixel, per side
    families     how often each family of scenes is drawn; the weights need not sum to one
    fps          frames a second of the clips of families with moving cameras
    lenses       share of the clips recorded through a lens other than a pinhole
                 (`worldgen.scenes.cameras.random_lenses`)
    spreads_deg  tabletop: half angles of the arc the cameras stand on; a pair [low, high] is drawn with equal chance,
                 then an angle between its ends
    shards, shards_share  folder of shards of real captures (`worldgen curate`), and the share of clips drawn from there
    """

    seed: int = 0
    views: int = 8
    pool: int = 4
    reuse: int = 4
    supersample: int = 2
    families: dict[str, float] = field(default_factory=lambda: {"tabletop": 1.0})
    fps: float = 4.0
    lenses: float = 0.0
    spreads_deg: tuple[tuple[float, ...], ...] = ((5.0, 25.0), (25.0, 60.0), (180.0, 180.0))
    shards: Path | None = None
    shards_share: float = 0.5
