"""Which tasks a training run samples, and how often."""

from dataclasses import dataclass

from worldgen.runtime.config import newer

PATTERNS = ("given", "given_depth", "prediction", "interpolation", "depth", "layout", "unknown", "independent")


@dataclass(frozen=True)
class TaskConfig:
    """How often each pattern of levels is trained, and what is dropped; the weights need not sum to one.

    given          some images known, the rest and all depth unknown
    given_depth    some images known with their depth, as in filling in between finished frames
    prediction     the first images known, in order, in half the cases with depth
    interpolation  every n-th image and the last known, in order, in half the cases with depth
    depth          all images known, depth unknown
    layout         layouts known, images and depth unknown (models with layouts only)
    unknown        everything unknown (given images dropped, for guidance)
    independent    every (frame, modality) at a level of its own
    layout_given   chance that the layouts are known in the other patterns as well
    drop_cameras, drop_text  chance that a clip's cameras, or its caption, are dropped
    causal         chance that frames come in order and attend to no later chunks
    memory         chance that the clip comes with a memory render (models with memory only)
    top            chance that the unknown is at level 1 exactly, pure noise
    level_mean, level_std  of the logit-normal the other levels are drawn from
    degraded, no_coarse  chance that a second stage's coarse clip is a degraded truth instead of the first stage's, or
                   that there is none
    scale_jitter   the scene scale is multiplied or divided by up to this
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
    degraded: float = newer(0.15)
    no_coarse: float = newer(0.1)
