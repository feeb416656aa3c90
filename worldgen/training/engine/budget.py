"""The length of a run with a budget of seconds: its rate is measured once, and from then on steps alone count."""

import math
import time
from typing import Any

import torch

from geometry.errors import InputError
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.distributed import Ranks

_LEAST_MEASURED = 20  # steps


class Budget:
    """How many steps a run has: those configured or, with `train.budget_s`, as many as that time allows, if fewer.

    After the warm-up and all stages but the last, as many steps as the warm-up has, at least 20, are timed; the rest of
    the budget divided by the time of one fixes the length. Length and time spent are in the checkpoint, so a run that
    resumes with the same budget ends at the same step.

    steps  the length known so far
    fixed  whether it is final
    """

    def __init__(self, config: TrainConfig, ranks: Ranks):
        self._config, self._ranks, self.steps = config, ranks, config.steps
        self.fixed, self._spent, self._mark = config.budget_s is None, 0.0, (-1, 0.0)
        self._now = time.perf_counter()

    def after(self, step: int) -> bool:
        """Count the time up to a finished step. Returns whether the length is fixed now.

        Raises InputError when the budget is spent before.
        """
        config, now = self._config, time.perf_counter()
        self._spent, self._now = self._spent + now - self._now, now
        if self.fixed or config.budget_s is None:
            return False
        start = max(config.warmup, sum(stage.steps for stage in config.curriculum))
        if step >= start and self._mark[0] < 0:
            self._mark = step, self._spent
        first, spent = self._mark
        last = max(first, start) + max(config.warmup, _LEAST_MEASURED)
        allowed = math.inf
        if first >= 0 and step >= last:
            seconds = (self._spent - spent) / (step - first)
            # All processes take the length of the slowest.
            allowed = step + (config.budget_s - self._spent) / seconds
            allowed = float(self._ranks.gathered(torch.tensor([allowed], device=self._ranks.device)).min())
            self.steps, self.fixed = int(min(self.steps, max(allowed, step))), True
        if self._spent > config.budget_s or allowed < step + 1:
            raise InputError(
                f"train.budget_s {config.budget_s:g} is spent at step {step}, and the length is known after {last}; "
                "expected more time, or a shorter train.warmup or curriculum"
            )
        return self.fixed

    def state(self) -> dict[str, Any]:
        """For a checkpoint's header: nothing without a budget."""
        if self._config.budget_s is None:
            return {}
        return {"budget_s": self._config.budget_s, "spent_s": self._spent, "steps": self.steps if self.fixed else None}

    def restore(self, header: dict[str, Any]) -> None:
        """Continue from a checkpoint's header; with another budget the length is measured anew."""
        self._spent = float(header.get("spent_s", 0.0))
        known = header.get("steps")
        if self._config.budget_s is not None and header.get("budget_s") == self._config.budget_s and known is not None:
            self.steps, self.fixed = min(self._config.steps, int(known)), True
