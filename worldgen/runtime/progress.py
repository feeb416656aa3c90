"""How far long work is: one bar for all of it, with named stages; lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress

Number = int | float
Report = Callable[[Number, str], None]  # takes the share of all the work that is done, 0 to 1, and what is being done
_EVERY_S = 5.0
_RARER = 1 / 20  # of the time so far: lines of work that takes days are hours apart


def shown(progress: bool | Report) -> AbstractContextManager[Report]:
    """What the `progress` of a function means.

    Args:
        progress: Whether to show a bar on stderr, or a line every few seconds where that is no terminal; or a function
            that is called with the share of the work that is done, 0 to 1, and the name of the stage.

    Returns:
        A context that gives the function to call.
    """
    if callable(progress):
        return nullcontext(progress)
    return Bar() if progress else nullcontext(silent)


def silent(share: Number, stage: str) -> None:
    """Report nothing."""


class Bar:
    """A `Report` that draws a bar on stderr where that is a terminal, and prints lines elsewhere."""

    def __enter__(self) -> "Bar":
        self.file = sys.stderr
        self.began = time.monotonic()
        self.next_line = self.began + _EVERY_S
        self.bar = None
        if self.file.isatty():
            from tqdm import tqdm

            form = "{percentage:3.0f}% |{bar:30}| {elapsed}<{remaining}, {desc}"
            self.bar = tqdm(total=1.0, bar_format=form, leave=False, file=self.file, miniters=0)
        return self

    def __call__(self, share: Number, stage: str) -> None:
        """Show that a share of the work is done, and what is being done."""
        share = float(min(max(share, 0), 1))
        if self.bar is not None:
            self.bar.set_description_str(stage, refresh=False)
            self.bar.update(max(0.0, share - self.bar.n))
        elif (now := time.monotonic()) >= self.next_line:
            passed = now - self.began
            self.next_line = now + max(_EVERY_S, _RARER * passed)
            left = f", about {_clock(passed / share - passed)} left" if share > 0.01 else ""
            with suppress(BrokenPipeError):  # nobody reads it any more, and the work is worth finishing
                print(f"worldgen: {share:.0%}, {stage}, {_clock(passed)} passed{left}", file=self.file, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Work:
    """Work in stages, one after the other, as one whole.

    Args:
        report: Is told of the whole.
        costs: By stage: what it costs beside the others, as far as is known beforehand.
    """

    def __init__(self, report: Report, costs: Mapping[str, Number]):
        self.report, self.costs = report, costs

    def part(self, stage: str) -> Report:
        """What reports a stage: called with the share of the stage, and what is being done in it."""
        names = list(self.costs)
        total = sum(self.costs.values())
        before = sum(self.costs[name] for name in names[: names.index(stage)])
        return lambda share, said: self.report((before + self.costs[stage] * share) / total, said)

    def begin(self, stage: str) -> None:
        """Say that a stage begins."""
        self.part(stage)(0, stage)

    def counter(self, stage: str, total: Number | None = None) -> "Counter":
        """A stage of so many steps (default: its cost); it begins."""
        return Counter(self.part(stage), stage, self.costs[stage] if total is None else total)


class Counter:
    """Steps of a stage, of which a call counts one, or several."""

    def __init__(self, report: Report, stage: str, total: Number):
        self.report, self.stage, self.total, self.done = report, stage, total, 0.0
        self.report(0, stage)

    def __call__(self, steps: Number = 1) -> None:
        """Count steps."""
        self.done += steps
        self.report(self.done / self.total, f"{self.stage} {self.done:.0f}/{self.total:.0f}")
