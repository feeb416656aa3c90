"""What makes a run impossible. Each function yields a message for everything wrong with a part of the configuration.

Conditions say what is expected and are negated, so that NaN is refused too.
"""

from collections.abc import Iterator, Sequence

from worldgen.models.config import ModelConfig
from worldgen.models.network.backbones import BACKBONES
from worldgen.runtime.precision import PRECISIONS
from worldgen.scenes.families.family import FAMILIES
from worldgen.training.config.data import DataConfig
from worldgen.training.config.objectives import DistillConfig, RewardConfig
from worldgen.training.config.tasks import PATTERNS, TaskConfig
from worldgen.training.config.train import TrainConfig, TrainingStage
from worldgen.training.weighting import WEIGHTINGS

_OPTIMIZERS, _PARALLEL = ("muon", "adamw"), ("none", "ddp", "fsdp")


def student(t: TrainConfig, reward: RewardConfig | None, distill: DistillConfig | None) -> Iterator[str]:
    """What a student's run cannot have."""
    if distill is None:
        return
    if t.start_from is None:
        yield "distill without train.start_from; expected the teacher"
    not_of_students = {
        "train.parallel fsdp": t.parallel == "fsdp",
        "train.optimizer muon": t.optimizer == "muon",
        "train.compile": t.compile,
        "train.checkpointing": t.checkpointing,
        "train.averages": bool(t.averages),
        "train.consistency_weight": t.consistency_weight > 0,
        "train.alignment_weight": t.alignment_weight > 0,
        "reward": reward is not None,
    }
    wrong = [name for name, given in not_of_students.items() if given]
    if wrong:
        yield f"distill with {', '.join(wrong)}; expected without, a student's run does not support them"


def training(t: TrainConfig, reward: RewardConfig | None) -> Iterator[str]:
    """`train`, but for its stages."""
    if not t.steps >= 1:
        yield f"train.steps {t.steps}; expected at least 1"
    if not (t.budget_s is None or t.budget_s > 0):
        yield f"train.budget_s {t.budget_s}; expected more than 0"
    if not t.batch >= 1:
        yield f"train.batch {t.batch}; expected at least 1"
    for name, allowed in (("optimizer", _OPTIMIZERS), ("precision", PRECISIONS), ("parallel", _PARALLEL)):
        if getattr(t, name) not in allowed:
            yield f"train.{name} {getattr(t, name)!r}; expected one of {', '.join(allowed)}"
    if not t.context_parallel >= 1:
        yield f"train.context_parallel {t.context_parallel}; expected at least 1"
    if not 0 <= t.render_ahead <= 64:
        yield f"train.render_ahead {t.render_ahead}; expected 0 to 64 processes"
    yield from _loss(t, reward)
    if not 0 <= t.ema < 1:
        yield f"train.ema {t.ema}; expected 0 or more and less than 1"
    if not (len(set(t.averages)) == len(t.averages) and all(0 < length <= 0.28 for length in t.averages)):
        yield f"train.averages {list(t.averages)}; expected different lengths, more than 0 and at most 0.28"
    if not 0 <= t.cooldown <= 1:
        yield f"train.cooldown {t.cooldown}; expected 0 to 1"
    if not min(t.checkpoint_every, t.sheet_every, t.log_every, t.average_every) >= 1:
        yield "train.*_every: expected at least 1 each"
    if not 0 < t.learning_rate < 10:
        yield f"train.learning_rate {t.learning_rate}; expected more than 0, less than 10"


def _loss(t: TrainConfig, reward: RewardConfig | None) -> Iterator[str]:
    if t.weighting not in WEIGHTINGS:
        yield f"train.weighting {t.weighting!r}; expected one of {', '.join(WEIGHTINGS)}"
    if not 0 < t.least_level <= 1:
        yield f"train.least_level {t.least_level}; expected more than 0, up to 1"
    if not min(t.depth_weight, t.layout_weight, t.consistency_weight, t.alignment_weight) >= 0:
        yield "train.depth_weight, layout_weight, consistency_weight, alignment_weight: expected 0 or more each"
    if not 0 < t.alignment_until <= 1:
        yield f"train.alignment_until {t.alignment_until}; expected more than 0, up to 1"
    if t.alignment_weight and reward is not None:
        yield "train.alignment_weight with a reward; expected without"


def backbone(
    t: TrainConfig, model: ModelConfig, reward: RewardConfig | None, distill: DistillConfig | None
) -> Iterator[str]:
    """What the network's kind cannot have."""
    kind = BACKBONES[model.backbone]
    not_of_it = {
        "train.context_parallel": t.context_parallel > 1 and not kind.shares_frames,
        "train.alignment_weight": t.alignment_weight > 0 and kind.two_stages,
        "reward": reward is not None and kind.two_stages,
        "distill": distill is not None and kind.two_stages,
    }
    wrong = [name for name, given in not_of_it.items() if given]
    if wrong:
        yield f"{', '.join(wrong)} with model.backbone {model.backbone!r}, which does not support it; expected without"


def data_and_tasks(d: DataConfig, tasks: TaskConfig, train_seed: int, layout: bool) -> Iterator[str]:
    """`data` and `tasks` of a model with or without layouts."""
    if not min(d.pool, d.reuse, d.supersample) >= 1:
        yield "data.pool, reuse and supersample: expected at least 1 each"
    if not d.spreads_deg:
        yield "data.spreads_deg is empty; expected at least one pair [low, high]"
    if not all(len(pair) == 2 for pair in d.spreads_deg):
        yield "data.spreads_deg: expected pairs [low, high]"
    weights = [getattr(tasks, name) for name in PATTERNS]
    possible = sum(weights) - (0 if layout else tasks.layout)
    if not (min(weights) >= 0 and possible > 0):
        yield f"tasks of weights {weights}; expected none below 0, some above"
    chances = ("layout_given", "drop_cameras", "drop_text", "causal", "memory", "top", "degraded", "no_coarse")
    if not all(0 <= getattr(tasks, name) <= 1 for name in chances):
        yield f"tasks.{', '.join(chances)}: expected 0 to 1 each"
    if not tasks.scale_jitter >= 1:
        yield f"tasks.scale_jitter {tasks.scale_jitter}; expected 1 or more"
    if not (train_seed >= 0 and d.seed >= 0):
        yield f"train.seed {train_seed}, data.seed {d.seed}; expected 0 or more"
    shares = d.families.values()
    if not (set(d.families) <= set(FAMILIES) and min(shares, default=-1) >= 0 < sum(shares)):
        yield f"data.families {d.families}; expected weights of {', '.join(FAMILIES)}, none below 0, some above"
    if not d.fps > 0:
        yield f"data.fps {d.fps}; expected more than 0"
    if not 0 <= d.lenses <= 1:
        yield f"data.lenses {d.lenses}; expected 0 to 1"
    if not 0 <= d.shards_share <= 1:
        yield f"data.shards_share {d.shards_share}; expected 0 to 1"


def stages(
    all_stages: Sequence[TrainingStage], model: ModelConfig, views: int, reward: RewardConfig | None
) -> Iterator[str]:
    """The stages' clips: frames that there are, sides that the codec can encode."""
    most, block = min(views, model.frames), model.codec.block
    given = 0 if reward is None else reward.given
    for number, stage in enumerate(all_stages):
        last = number == len(all_stages) - 1
        where, frames = "train" if last else f"train.curriculum[{number}]", list(stage.frames)
        if not (frames and min(frames) >= 1 and max(frames) <= most):
            yield f"{where}.frames {frames}; expected 1 to {most} (data.views, model.frames)"
        if not min(frames, default=1) > given:
            yield f"{where}.frames {frames}; expected more than the {given} of reward.given"
        if not (stage.steps >= 1 and stage.batch >= 1):
            yield (
                f"{where}: {stage.steps} steps of {stage.batch}; expected at least 1 (the stages' steps are part of "
                "train.steps)"
            )
        if not (stage.size_px >= block and stage.size_px % block == 0):
            yield f"{where}.size_px {stage.size_px}; expected a multiple of the codec's block {block}"
        if stage.size_px % model.multiple:
            yield f"{where}.size_px {stage.size_px}; expected a multiple of {model.multiple} (model.backbone)"
