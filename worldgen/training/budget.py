"""The length of a run that has so many seconds: its rate is measured once, and from then on steps alone count."""

import math
import time
from typing import Any

import torch

from geometry.errors import InputError
from worldgen.training.config import TrainConfig
from worldgen.training.distributed import Ranks

_LEAST_MEASURED = 20  # steps


class Budget:
    """How many steps a run has: those configured or, with `train.budget_s`, as many as that time allows, if fewer.

    After the warm-up as many steps again, at least 20, are timed; what is left of the budget divided by theirs fixes
    the length. Length and time spent stand in the checkpoint, so a run that goes on ends at the same step.

    steps  the length known so far
    """

    def __init__(self, config: TrainConfig, ranks: Ranks):
        self._config, self._ranks, self.steps = config, ranks, config.steps
        self.fixed, self._spent, self._mark = config.budget_s is None, 0.0, (-1, 0.0)
        self._now = time.perf_counter()

    def after(self, step: int, least: int) -> None:
        """Count the time up to a finished step, and fix the length if that is the step to do so.

        Raises InputError when the budget ends before `least` steps, those of the curriculum.
        """
        if self.fixed:
            return
        now = time.perf_counter()
        self._spent, self._now = self._spent + now - self._now, now
        if step >= self._config.warmup and self._mark[0] < 0:
            self._mark = step, self._spent
        first, spent = self._mark
        if first < 0 or step < first + max(self._config.warmup, _LEAST_MEASURED):
            return
        assert self._config.budget_s is not None
        seconds = (self._spent - spent) / (step - first)
        # All processes have the length that the slowest would have.
        allowed = step + (self._config.budget_s - self._spent) / seconds
        allowed = float(self._ranks.gathered(torch.tensor([allowed], device=self._ranks.device)).min())
        self.steps, self.fixed = max(step, min(self.steps, math.floor(allowed))), True
        if self.steps <= least:
            raise InputError(
                f"train.budget_s {self._config.budget_s:g} is {self.steps} steps here; expected time for more than "
                f"the {least} of train.curriculum"
            )

    def state(self) -> dict[str, Any]:
        """For a checkpoint's header: nothing without a budget."""
        if self._config.budget_s is None:
            return {}
        return {"spent_s": self._spent, "steps": self.steps if self.fixed else None}

    def restore(self, header: dict[str, Any]) -> None:
        """Go on as a checkpoint's header says."""
        self._spent = float(header.get("spent_s", 0.0))
        if self._config.budget_s is not None and header.get("steps") is not None:
            self.steps, self.fixed = int(header["steps"]), True
