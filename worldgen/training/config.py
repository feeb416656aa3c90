"""What a training run is: one flat file, and a diff of two files is the diff of two runs."""

from dataclasses import dataclass, field
from pathlib import Path

from geometry.errors import InputError
from worldgen.models.world_model import ModelConfig
from worldgen.runtime.precision import PRECISIONS
from worldgen.scenes.families.family import FAMILIES


@dataclass(frozen=True)
class DataConfig:
    """The endless stream of scenes.

    seed         of the scene series
    views        images rendered of each scene, from which a step draws its frames
    pool         batches of scenes rendered together
    reuse        times each scene is used, each time with other frames, levels and noise
    families     how often each family of scenes is drawn; the weights need not sum to one
    fps          frames a second of the clips of families with moving cameras
    lenses       share of the clips recorded through a lens other than a pinhole
                 (`worldgen.scenes.cameras.random_lenses`)
    spreads_deg  tabletop: half angles of the arc the cameras stand on, drawn between each pair's ends with equal chance
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


WEIGHTINGS = ("velocity", "x0", "snr", "min_snr")
PATTERNS = ("given", "given_depth", "prediction", "interpolation", "depth", "layout", "unknown", "independent")


@dataclass(frozen=True)
class TaskConfig:
    """How often each pattern of levels is trained, and what is dropped; the weights need not sum to one.

    given          some images known, the rest and all depth unknown
    given_depth    some images known with their depth, as in filling in between finished frames
    prediction     the first images known, in order, in half the cases with depth
    interpolation  every so manyth image and the last known, in order, in half the cases with depth
    depth          all images known, depth unknown
    layout         layouts known, images and depth unknown (models with layouts only)
    unknown        everything unknown (given images dropped, for guidance)
    independent    every (frame, modality) at a level of its own
    layout_given   chance that the layouts are known in the other patterns as well
    drop_cameras, drop_text  chance that a clip's cameras, or its caption, are dropped
    causal         chance that frames come in order and see no later chunks
    memory         chance that the clip is shown with a memory render (models with memory only)
    top            chance that the unknown is at level 1 exactly, pure noise
    level_mean, level_std  of the logit-normal the other levels are drawn from
    scale_jitter   the scene scale is multiplied by up to this, or divided
    """

    given: float = 0.62
    given_depth: float = 0.1
    prediction: float = 0.0
    interpolation: float = 0.0
    depth: float = 0.08
    layout: float = 0.0
    unknown: float = 0.1
    independent: float = 0.1
    layout_given: float = 0.3
    drop_cameras: float = 0.05
    drop_text: float = 0.1
    causal: float = 0.0
    memory: float = 0.5
    top: float = 0.3
    level_mean: float = 0.6
    level_std: float = 1.2
    scale_jitter: float = 1.1


@dataclass(frozen=True)
class Stage:
    """A part of a run: so many steps of clips of some size, each of a number of frames drawn anew every step.

    frames of 1 are single images, as in pre-training on images.
    """

    steps: int
    size_px: int
    batch: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    budget_s      seconds for the whole run: its rate is measured once after the warm-up and fixes the number of steps,
                  at most `steps` (`worldgen.training.engine.budget`); None = `steps` it is
    frames        frames of a clip, drawn anew every step
    curriculum    stages before the last one, which has the run's batch, frames and the model's size; their steps are
                  part of `steps`
    averages, average_every  lengths of averages of the weights that are stored every so many steps, of which
                  `worldgen average` makes one of any other length (`worldgen.training.engine.averages`)
    weighting     of the squared error by level: velocity, x0, snr or min_snr
                  (`worldgen.training.objectives.loss.weight`)
    least_level   below it the weight stays what it is there
    depth_weight, layout_weight  of their losses beside the images'
    consistency_weight  of the cross-view disagreement of predicted images (still scenes); 0 = not computed
    alignment_weight, alignment_until  of what the middle block's tokens do not know of the exact geometry
                  (`worldgen.training.objectives.alignment`), for that share of the steps; of weight 0 not computed. Not
                  with a reward or a student
    checkpointing  recompute blocks in the backward pass: memory for time
    compile       compile each block (torch.compile): the first steps take longer, the others less
    parallel      how the processes torchrun starts share the model: "ddp" each has all of it, "fsdp" each has a part;
                  one process is one process whatever it says
    context_parallel  processes that share each clip's frames, for long clips; the number of frames must be a multiple
    cooldown      the last share of the steps, over which the rate falls to 0
    precision     "bf16" computes matrix products in bfloat16 over float32 weights, "fp32" everything in float32;
                  "auto" is bf16 where the device has such arithmetic (a CPU without it takes eight times as long)
    start_from    embedded name or folder whose weights the run starts from; parts it lacks (a modality, memory, text)
                  are added
    """

    seed: int = 0
    steps: int = 20_000
    budget_s: float | None = None
    batch: int = 16
    frames: tuple[int, ...] = (2, 3, 4, 4, 5, 6, 8)
    curriculum: tuple[Stage, ...] = ()
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    cooldown: float = 0.43
    clip_norm: float = 1.0
    ema: float = 0.999
    averages: tuple[float, ...] = ()
    average_every: int = 500
    weighting: str = "velocity"
    least_level: float = 0.2
    depth_weight: float = 0.3
    layout_weight: float = 0.3
    consistency_weight: float = 0.0
    alignment_weight: float = 0.0
    alignment_until: float = 0.6
    checkpointing: bool = False
    compile: bool = False
    parallel: str = "none"
    context_parallel: int = 1
    optimizer: str = "muon"
    precision: str = "auto"
    device: str = "auto"
    start_from: str | None = None
    checkpoint_every: int = 500
    sheet_every: int = 2000
    log_every: int = 20


@dataclass(frozen=True)
class RewardConfig:
    """Fine-tuning on the agreement of sampled views (`worldgen.training.objectives.reward`; still scenes).

    weight  of what is missing to a reward of 1, beside the loss
    given   first frames of each clip whose images are given; the others are sampled
    steps   of sampling
    last    through how many of them, from the end, gradients go
    """

    weight: float = 1.0
    given: int = 2
    steps: int = 4
    last: int = 1

    def __post_init__(self) -> None:
        if not (self.weight > 0 and self.given >= 1 and 1 <= self.last <= self.steps):
            raise InputError(f"{self}; expected a weight above 0, 1 or more given, and 1 to `steps` last steps")


@dataclass(frozen=True)
class DistillConfig:
    """A student that samples in a few steps without guidance what its teacher, `train.start_from`, samples in many with
    guidance (`worldgen.training.objectives.distill`).

    steps          of the student
    teacher_steps  of the teacher, a multiple
    guidance       of the teacher towards the given images; 1 = none
    rank           of the student's change to each matrix
    """

    steps: int = 4
    teacher_steps: int = 20
    guidance: float = 1.5
    rank: int = 16

    def __post_init__(self) -> None:
        if not (1 <= self.steps <= self.teacher_steps <= 1000 and self.teacher_steps % self.steps == 0):
            raise InputError(f"{self}; expected 1 or more steps, and teacher_steps a multiple of them up to 1000")
        if self.rank < 1 or not 0 <= self.guidance <= 100:
            raise InputError(f"{self}; expected a rank of 1 or more and guidance of 0 to 100")


@dataclass(frozen=True)
class RunConfig:
    """A training run's file; without `reward` there is none, without `distill` no student but a model is trained."""

    output: Path
    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    tasks: TaskConfig = field(default_factory=TaskConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    reward: RewardConfig | None = None
    distill: DistillConfig | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages of the run in order."""
        t = self.train
        before = sum(stage.steps for stage in t.curriculum)
        return (*t.curriculum, Stage(t.steps - before, self.model.size_px, t.batch, t.frames))

    def stage_at(self, step: int) -> tuple[int, int, Stage]:
        """A step's stage: its number, its first step, and what it is."""
        first, stages = 0, self.stages
        for number, stage in enumerate(stages[:-1]):
            if step < first + stage.steps:
                return number, first, stage
            first += stage.steps
        return len(stages) - 1, first, stages[-1]

    def __post_init__(self) -> None:
        for holds, message in (*self._of_training(), *self._of_data(), *self._of_stages()):
            if not holds:
                raise InputError(message)

    def _of_training(self) -> list[tuple[bool, str]]:
        t = self.train
        not_of_students = {
            "train.parallel fsdp": t.parallel == "fsdp",
            "train.optimizer muon": t.optimizer == "muon",
            "train.compile": t.compile,
            "train.checkpointing": t.checkpointing,
            "train.averages": bool(t.averages),
            "train.consistency_weight": t.consistency_weight > 0,
            "train.alignment_weight": t.alignment_weight > 0,
            "reward": self.reward is not None,
        }
        wrong = [] if self.distill is None else [name for name, given in not_of_students.items() if given]
        return [
            (
                self.distill is None or t.start_from is not None,
                "distill without train.start_from; expected the teacher",
            ),
            (not wrong, f"distill with {', '.join(wrong)}; expected without, a student's run does not know them"),
            (t.steps >= 1, f"train.steps {t.steps}; expected at least 1"),
            (t.budget_s is None or t.budget_s > 0, f"train.budget_s {t.budget_s}; expected more than 0"),
            (t.batch >= 1, f"train.batch {t.batch}; expected at least 1"),
            (t.optimizer in ("muon", "adamw"), f"train.optimizer {t.optimizer!r}; expected muon or adamw"),
            (t.precision in PRECISIONS, f"train.precision {t.precision!r}; expected {', '.join(PRECISIONS)}"),
            (t.parallel in ("none", "ddp", "fsdp"), f"train.parallel {t.parallel!r}; expected none, ddp or fsdp"),
            (t.context_parallel >= 1, f"train.context_parallel {t.context_parallel}; expected at least 1"),
            (t.weighting in WEIGHTINGS, f"train.weighting {t.weighting!r}; expected one of {', '.join(WEIGHTINGS)}"),
            (0 < t.least_level <= 1, f"train.least_level {t.least_level}; expected more than 0, up to 1"),
            (
                min(t.depth_weight, t.layout_weight, t.consistency_weight, t.alignment_weight) >= 0,
                "train.depth_weight, layout_weight, consistency_weight, alignment_weight: expected 0 or more each",
            ),
            (0 < t.alignment_until <= 1, f"train.alignment_until {t.alignment_until}; expected more than 0, up to 1"),
            (not t.alignment_weight or self.reward is None, "train.alignment_weight with a reward; expected without"),
            (0 <= t.ema < 1, f"train.ema {t.ema}; expected 0 or more and less than 1"),
            (
                len(set(t.averages)) == len(t.averages) and all(0 < length <= 0.28 for length in t.averages),
                f"train.averages {list(t.averages)}; expected different lengths, more than 0 and at most 0.28",
            ),
            (0 <= t.cooldown <= 1, f"train.cooldown {t.cooldown}; expected 0 to 1"),
            (
                min(t.checkpoint_every, t.sheet_every, t.log_every, t.average_every) >= 1,
                "train.*_every: expected at least 1 each",
            ),
            (0 < t.learning_rate < 10, f"train.learning_rate {t.learning_rate}; expected more than 0, less than 10"),
        ]

    def _of_data(self) -> list[tuple[bool, str]]:
        t, d, tasks = self.train, self.data, self.tasks
        weights, shares = [getattr(tasks, name) for name in PATTERNS], d.families.values()
        possible = sum(weights) - (0 if self.model.codec.layout else tasks.layout)
        chances = ("layout_given", "drop_cameras", "drop_text", "causal", "memory", "top")
        return [
            (min(d.pool, d.reuse, d.supersample) >= 1, "data.pool, reuse and supersample: expected at least 1 each"),
            (len(d.spreads_deg) > 0, "data.spreads_deg is empty; expected at least one pair [low, high]"),
            (all(len(pair) == 2 for pair in d.spreads_deg), "data.spreads_deg: expected pairs [low, high]"),
            (min(weights) >= 0 and possible > 0, f"tasks weighing {weights}; expected none below 0, some above"),
            (
                all(0 <= getattr(tasks, name) <= 1 for name in chances),
                f"tasks.{', '.join(chances)}: expected 0 to 1 each",
            ),
            (tasks.scale_jitter >= 1, f"tasks.scale_jitter {tasks.scale_jitter}; expected 1 or more"),
            (t.seed >= 0 and d.seed >= 0, f"train.seed {t.seed}, data.seed {d.seed}; expected 0 or more"),
            (
                set(d.families) <= set(FAMILIES) and min(shares, default=-1) >= 0 < sum(shares),
                f"data.families {d.families}; expected weights of {', '.join(FAMILIES)}, none below 0, some above",
            ),
            (d.fps > 0, f"data.fps {d.fps}; expected more than 0"),
            (0 <= d.lenses <= 1, f"data.lenses {d.lenses}; expected 0 to 1"),
            (0 <= d.shards_share <= 1, f"data.shards_share {d.shards_share}; expected 0 to 1"),
        ]

    def _of_stages(self) -> list[tuple[bool, str]]:
        most, block = min(self.data.views, self.model.frames), self.model.codec.block
        given = 0 if self.reward is None else self.reward.given
        checks = []
        for number, stage in enumerate(self.stages):
            last = number == len(self.stages) - 1
            where = "train" if last else f"train.curriculum[{number}]"
            checks += [
                (
                    bool(stage.frames) and min(stage.frames) >= 1 and max(stage.frames) <= most,
                    f"{where}.frames {list(stage.frames)}; expected 1 to {most} (data.views, model.frames)",
                ),
                (
                    min(stage.frames, default=1) > given,
                    f"{where}.frames {list(stage.frames)}; expected more than the {given} of reward.given",
                ),
                (
                    stage.steps >= 1 and stage.batch >= 1,
                    f"{where}: {stage.steps} steps of {stage.batch}; expected at least 1 (the stages' steps are part "
                    "of train.steps)",
                ),
                (
                    stage.size_px >= block and stage.size_px % block == 0,
                    f"{where}.size_px {stage.size_px}; expected a multiple of the codec's block {block}",
                ),
            ]
        return checks
