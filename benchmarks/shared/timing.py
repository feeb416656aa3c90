"""Fair ratios on a noisy machine: contestants take turns in one process, and medians of CPU time are compared."""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.shared.report import Report, Table, command, missing, publish

TURNS = (
    "Contestants take turns in one process on one thread; times are medians of a run's CPU time. A ratio says how many "
    "times as fast ours is; a target is missed below 0.8 of it, which is more than the machine's noise explains."
)


@dataclass(frozen=True)
class Result:
    """One case.

    ms, peer_ms  median CPU time of a run
    ratio        how many times sooner than the peer, by CPU time; wall_ratio by the clock
    target       the ratio that is promised; None = only reported
    note         what agreed, or what was left out
    """

    case: str
    ours: str
    peer: str
    ms: float
    peer_ms: float
    ratio: float
    wall_ratio: float
    target: float | None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Below 0.8 of the target: more than the machine's noise explains."""
        return self.target is not None and self.ratio < 0.8 * self.target


def compare(
    case: str,
    contestants: Mapping[str, Callable[[], object]],
    peer: str,
    targets: dict[str, float],
    repeats: int,
    note: str = "",
) -> list[Result]:
    """Time contestants in turn, A B C A B C ..., once unmeasured first, and set each beside the peer."""
    keep_memory()
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(repeats + 1):
        for name, run in contestants.items():
            clock, work = time.perf_counter(), time.process_time()
            run()
            if repeat:
                cpu[name].append(time.process_time() - work)
                wall[name].append(time.perf_counter() - clock)
    base_cpu, base_wall = median(cpu[peer]), median(wall[peer])
    return [
        Result(
            case,
            name,
            peer,
            1e3 * median(cpu[name]),
            1e3 * base_cpu,
            base_cpu / median(cpu[name]),
            base_wall / median(wall[name]),
            targets.get(name),
            note,
        )
        for name in contestants
        if name != peer
    ]


def keep_memory() -> None:
    """Have glibc keep what is freed, where glibc it is.

    Otherwise chance decides which contestant's large arrays are handed back and faulted in anew, page by page: 0 to
    3,000 faults a call of one and the same transformer block, a tenth of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
        mallopt(mmap_threshold, 32 << 20)  # the most it takes
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 64 << 20)


def table(results: Sequence[Result], title: str = "") -> Table:
    """The results as a table, with the cases' notes."""
    columns = {
        "case": "", "ours": "", "ms": ".2f", "peer": "", "peer's ms": ".2f", "ratio (CPU)": ".2f",
        "ratio (wall)": ".2f", "target": "g",
    }  # fmt: skip
    rows = [(r.case, r.ours, r.ms, r.peer, r.peer_ms, r.ratio, r.wall_ratio, r.target) for r in results]
    notes = [f"{r.case}: {r.note}" for r in results if r.note]
    return Table.of(columns, rows, title, list(dict.fromkeys(notes)))


def misses(results: Sequence[Result]) -> list[str]:
    """The promised ratios that were missed."""
    return [f"{r.case}, {r.ours}: {r.ratio:.2f} times as fast (target {r.target:g})" for r in results if r.missed]


def run_cases(title: str, about: str | None, cases: Mapping[str, Callable[[int], list[Result]]], repeats: int) -> int:
    """A benchmark's command: run the cases on request on one thread and publish the ratios.

    Cases whose peers are not installed are left out with a note. Returns 1 where a promised ratio is missed, else 0.
    """
    parser = case_options(about, list(cases), repeats)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results, notes = measure(parser, arguments, cases)
    return publish(Report.now(title, [table(results)], [TURNS, *notes], misses(results)), arguments.report)


def case_options(about: str | None, names: Sequence[str], repeats: int) -> argparse.ArgumentParser:
    """A parser with the names of cases and how often each is repeated."""
    parser = command(about)
    parser.add_argument("--cases", nargs="*", default=list(names), help=f"some of {', '.join(names)}")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"measured turns of every contestant ({repeats})")
    return parser


def measure(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    cases: Mapping[str, Callable[[int], list[Result]]],
) -> tuple[list[Result], list[str]]:
    """The results of the requested cases, and notes of those whose peers are not installed."""
    known = parser.get_default("cases")
    if unknown := set(arguments.cases) - set(known):
        parser.error(f"cases {sorted(unknown)}; expected some of {', '.join(known)}")
    results: list[Result] = []
    notes: list[str] = []
    for name in (name for name in cases if name in arguments.cases):
        try:
            results += cases[name](arguments.repeats)
        except ImportError as error:
            notes.append(missing(name, error))
    return results, notes
