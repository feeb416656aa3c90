"""What a training step makes of the machine: `python -m benchmarks.throughput configs/tiny.yaml`.

The arithmetic of a step's forward and backward pass over the time of the whole step, optimizer included, as a share of
what products of large square matrices reach in the same process just before and after; and where the step's time goes.
`--checkout DIR` measures the package in another checkout beside this one: their steps alternate, each in a process of
its own, on the same batches.

Exits with 1 where a transformer's step on one thread reaches less than 25% of that rate, or another network's 15%.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from geometry.errors import InputError

_HERE = Path(__file__).parents[2]
_CHILD = Path(__file__).with_name("training_steps.py")
_LEAST = {"dit": 25.0}  # percent; other networks
_LEAST_ELSE = 15.0
_WARM_UP = 1  # steps


class Measured:
    """A run in a process of its own, with the package of a checkout (`training_steps.py`)."""

    def __init__(self, process: "subprocess.Popen[str]"):
        self._process = process

    def __call__(self, what: str, **arguments: Any) -> Any:
        """Have something measured. Raises InputError when the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"ask": what, "with": arguments}), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise InputError(f"{what} could not be measured; expected an answer, what went wrong is above") from error


@contextmanager
def measured(config: Path, overrides: Sequence[str], checkout: Path) -> Iterator[Measured]:
    """A process that takes training steps of a run while it is asked to."""
    words = [sys.executable, "-P", str(_CHILD), str(config.resolve()), *overrides]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=checkout, env=environment, **pipes) as process:
        try:
            yield Measured(process)
        finally:
            process.kill()


def compared(runs: dict[str, Measured], threads: int, turns: int) -> tuple[list[list[Any]], list[list[Any]]]:
    """Rows of the table of shares, and of that of kinds, of runs that take turns."""
    (_, first), *_ = runs.items()
    shares: dict[str, list[float]] = {name: [] for name in runs}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rates: list[float] = []
    counted = []
    for turn in range(-_WARM_UP, turns):
        step = turn + _WARM_UP
        flops = first("flops", step=step)
        for name, run in list(runs.items())[:: 1 if turn % 2 else -1]:  # neither is always the first
            took = run("step", step=step, threads=threads)
            if turn >= 0:
                shares[name].append(100 * flops / took["seconds"] / took["rate"])
                seconds[name].append(took["seconds"])
                rates.append(took["rate"])
        counted.append(flops)
    rows, kinds = [], []
    about = first("describe")
    for name, run in runs.items():
        data, share = run("data", step=turns, threads=threads), median(shares[name])
        whole, times = sum(seconds[name]), median(a / b for a, b in zip(seconds[name], seconds["this"]))
        rows.append([
            about["name"], name, threads, "bf16" if about["bf16"] else "fp32", median(rates) / 1e9,
            sum(counted[_WARM_UP:]) / turns / 1e9, whole / turns, times, share, data,
            share * whole / (whole + turns * data),
        ])  # fmt: skip
        profiles = [run("kinds", step=turns + n, threads=threads) for n in range(3)]
        names = {kind for found in profiles for kind in found}
        took = {kind: sum(found.get(kind, 0.0) for found in profiles) / len(profiles) for kind in names}
        for kind, part in sorted(took.items(), key=lambda item: -item[1]):
            kinds.append([about["name"], name, threads, kind, part, 100 * part / sum(took.values())])
    return rows, kinds


SHARES = {
    "run": "", "package": "", "threads": "", "precision": "", "products GFLOP/s": ".0f", "GFLOP a step": ".1f",
    "s a step": ".3f", "times this": ".2f", "share %": ".1f", "data s": ".3f", "share with data %": ".1f",
}  # fmt: skip
KINDS = {"run": "", "package": "", "threads": "", "kind": "", "s": ".3f", "%": ".1f"}
NOTES = (
    "FLOPs are counted of the forward and backward pass of all loss terms, convolutions both ways and attention with "
    "the scores that its backward pass makes again; those of the optimizer are not, its time is. All packages are "
    "given those of the first.",
    "Times are of steps on the same batches in turn, on one thread of CPU time, on several by the clock. A share is "
    "the median over the turns, each by the rate of products just before and after; `times this` is that of a "
    "package's time over this one's. Clips have other numbers of frames in every step. Data is a step's part of the "
    "rendering of its pool, and what drawing its batch takes.",
)


def below(rows: Sequence[Sequence[Any]], backbones: dict[str, str]) -> list[str]:
    """What this package's steps on one thread miss."""
    missed = []
    for row in rows:
        facts = dict(zip(SHARES, row))
        least = _LEAST.get(backbones[facts["run"]], _LEAST_ELSE)
        if facts["package"] == "this" and facts["threads"] == 1 and facts["share %"] < least:
            missed.append(f"{facts['run']}: {facts['share %']:.1f}% of the rate of products (at least {least:g}%)")
    return missed


@reporting_errors
def main() -> int:
    """Measure, print the tables, write the report."""
    parser = command(__doc__)
    parser.add_argument("configs", type=Path, nargs="*", default=[Path("configs/tiny.yaml")], help="training runs")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of all of them")
    parser.add_argument("--checkout", type=Path, help="another one, measured beside this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads (default 1)")
    parser.add_argument("--turns", type=int, default=7, help="measured steps (default 7)")
    arguments = parser.parse_args()
    if min(arguments.turns, *arguments.threads) < 1:
        raise InputError("--turns, --threads: expected 1 or more")
    checkouts = {"this": _HERE}
    if arguments.checkout is not None:
        checkouts[f"in {arguments.checkout.resolve().name}"] = arguments.checkout.resolve()
    rows, kinds, backbones = [], [], {}
    for config in arguments.configs:
        for threads in arguments.threads:
            with ExitStack() as stack:
                runs = {n: stack.enter_context(measured(config, arguments.set, at)) for n, at in checkouts.items()}
                about = runs["this"]("describe")
                backbones[about["name"]] = about["backbone"]
                print(f"{about['name']} on {threads} ...", file=sys.stderr, flush=True)
                shares, parts = compared(runs, threads, arguments.turns)
                rows += shares
                kinds += parts
    tables = [Table.of(SHARES, rows, "Share of the machine's matrix products"), Table.of(KINDS, kinds, "Where it goes")]
    return publish(Report.now("Throughput of training", tables, NOTES, below(rows, backbones)), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
