"""The progress bar of long commands."""

import sys


class ProgressBar:
    """A progress bar whose length is known only once the work is planned."""

    def __enter__(self) -> "ProgressBar":
        from tqdm import tqdm

        self._bar = tqdm(total=0, unit="step", disable=not sys.stderr.isatty(), leave=False)
        return self

    def start(self, total: int) -> None:
        """Set the number of steps to come."""
        self._bar.reset(total)

    def step(self) -> None:
        """Count one more step."""
        self._bar.update()

    def at(self, done: int, total: int) -> None:
        """Show how many of all steps are done."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        self._bar.close()
