"""What a training run is: one flat file, and a diff of two files is the diff of two runs."""

from dataclasses import dataclass, field
from pathlib import Path

from geometry.errors import InputError
from worldgen.model import ModelConfig
from worldgen.scenes.families import FAMILIES


@dataclass(frozen=True)
class DataConfig:
    """The endless stream of scenes.

    seed         of the scene series
    views        pictures rendered of each scene, from which a step draws its frames
    pool         batches of scenes rendered together
    reuse        times each scene is used, each time with other frames, levels and noise
    families     how often each family of scenes is drawn; the weights need not sum to one
    fps          frames a second of the clips of families with moving cameras
    spreads_deg  tabletop: half angles of the arc the cameras stand on, drawn between each pair's ends with equal chance
    """

    seed: int = 0
    views: int = 8
    pool: int = 4
    reuse: int = 4
    supersample: int = 2
    families: dict[str, float] = field(default_factory=lambda: {"tabletop": 1.0})
    fps: float = 4.0
    spreads_deg: tuple[tuple[float, ...], ...] = ((5.0, 25.0), (25.0, 60.0), (180.0, 180.0))


@dataclass(frozen=True)
class TaskConfig:
    """How often each pattern of levels is trained, and what is dropped; the weights need not sum to one.

    given          some pictures known, the rest and all depth unknown
    given_depth    some pictures known with their depth, as in filling in between finished frames
    depth          all pictures known, depth unknown
    unknown        everything unknown (given pictures dropped, for guidance)
    independent    every (frame, modality) at a level of its own
    drop_cameras   chance that a clip's cameras are dropped
    top            chance that the unknown is at level 1 exactly, pure noise
    level_mean, level_std  of the logit-normal the other levels are drawn from
    scale_jitter   the scene scale is multiplied by up to this, or divided
    """

    given: float = 0.62
    given_depth: float = 0.1
    depth: float = 0.08
    unknown: float = 0.1
    independent: float = 0.1
    drop_cameras: float = 0.05
    top: float = 0.3
    level_mean: float = 0.6
    level_std: float = 1.2
    scale_jitter: float = 1.1


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    frames        frames of a clip, drawn anew every step
    depth_weight  of the depth's loss beside the pictures'
    cooldown      the last share of the steps, over which the rate falls to 0
    precision     "bf16" computes matrix products in bfloat16 over float32 weights
    start_from    embedded name or folder whose weights the run starts from
    """

    seed: int = 0
    steps: int = 20_000
    batch: int = 16
    frames: tuple[int, ...] = (2, 3, 4, 4, 5, 6, 8)
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    cooldown: float = 0.43
    clip_norm: float = 1.0
    ema: float = 0.999
    depth_weight: float = 0.3
    optimizer: str = "muon"
    precision: str = "bf16"
    device: str = "auto"
    start_from: str | None = None
    checkpoint_every: int = 500
    sheet_every: int = 2000
    log_every: int = 20


@dataclass(frozen=True)
class RunConfig:
    """A training run's file."""

    output: Path
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    tasks: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        t, d = self.train, self.data
        most = min(d.views, self.model.frames)
        expectations = [
            (t.steps >= 1, f"train.steps {t.steps}; expected at least 1"),
            (t.batch >= 1, f"train.batch {t.batch}; expected at least 1"),
            (
                bool(t.frames) and min(t.frames) >= 2 and max(t.frames) <= most,
                f"train.frames {list(t.frames)}; expected 2 to {most} (data.views, model.frames)",
            ),
            (t.optimizer in ("muon", "adamw"), f"train.optimizer {t.optimizer!r}; expected muon or adamw"),
            (t.precision in ("bf16", "fp32"), f"train.precision {t.precision!r}; expected bf16 or fp32"),
            (0 <= t.ema < 1, f"train.ema {t.ema}; expected 0 or more and less than 1"),
            (0 <= t.cooldown <= 1, f"train.cooldown {t.cooldown}; expected 0 to 1"),
            (min(d.pool, d.reuse, d.supersample) >= 1, "data.pool, reuse and supersample: expected at least 1 each"),
            (min(t.checkpoint_every, t.sheet_every, t.log_every) >= 1, "train.*_every: expected at least 1 each"),
            (all(len(pair) == 2 for pair in d.spreads_deg), "data.spreads_deg: expected pairs [low, high]"),
        ]
        tasks, shares = self.tasks, d.families.values()
        weights = (tasks.given, tasks.given_depth, tasks.depth, tasks.unknown, tasks.independent)
        expectations += [
            (min(weights) >= 0 and sum(weights) > 0, f"tasks weighing {weights}; expected none below 0, some above"),
            (0 <= tasks.drop_cameras <= 1 and 0 <= tasks.top <= 1, "tasks.drop_cameras and top: expected 0 to 1"),
            (tasks.scale_jitter >= 1, f"tasks.scale_jitter {tasks.scale_jitter}; expected 1 or more"),
            (0 < t.learning_rate < 10, f"train.learning_rate {t.learning_rate}; expected more than 0, less than 10"),
            (t.seed >= 0 and d.seed >= 0, f"train.seed {t.seed}, data.seed {d.seed}; expected 0 or more"),
            (
                set(d.families) <= set(FAMILIES) and min(shares, default=-1) >= 0 < sum(shares),
                f"data.families {d.families}; expected weights of {', '.join(FAMILIES)}, none below 0, some above",
            ),
            (d.fps > 0, f"data.fps {d.fps}; expected more than 0"),
            (len(d.spreads_deg) > 0, "data.spreads_deg is empty; expected at least one pair [low, high]"),
        ]
        for holds, message in expectations:
            if not holds:
                raise InputError(message)
