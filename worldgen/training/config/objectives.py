"""What a run trains beside, or instead of, denoising clips."""

from dataclasses import dataclass

from geometry.errors import InputError


@dataclass(frozen=True)
class RewardConfig:
    """Fine-tuning on the agreement of sampled views (`worldgen.training.objectives.reward`; still scenes).

    weight  of what is missing to a reward of 1, beside the loss
    given   first frames of each clip whose images are given; the others are sampled
    steps   of sampling
    last    through how many of them, from the end, gradients flow
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
    guidance (`worldgen.training.objectives.distillation`).

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
