"""`SamplingDefaults`: how a model is sampled unless the caller says otherwise."""

from dataclasses import dataclass

from geometry.errors import InputError


@dataclass(frozen=True)
class SamplingDefaults:
    """How a model is sampled unless the caller says otherwise.

    steps     rows of levels to go down; 1 with no guidance is the posterior mean
    guidance  scale towards the given images; 1 = no guidance
    """

    steps: int = 20
    guidance: float = 1.5

    def __post_init__(self) -> None:
        if not 0 <= self.guidance <= 100:
            raise InputError(f"guidance {self.guidance}; expected 0 to 100")
        if not 1 <= self.steps <= 1000:
            raise InputError(f"{self.steps} sampling steps; expected 1 to 1000")
