"""Fair ratios on a noisy machine: rivals take turns in one process, and medians of CPU time are compared."""

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from geometry.io.files import write_file


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

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"missed": self.missed}


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


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| case | ours | ms | peer | ms | ratio (CPU) | ratio (wall) | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        target = "" if r.target is None else f"{r.target:g}x{' MISSED' if r.missed else ''}"
        lines.append(
            f"| {r.case} | {r.ours} | {r.ms:.2f} | {r.peer} | {r.peer_ms:.2f} | {r.ratio:.2f}x | {r.wall_ratio:.2f}x "
            f"| {target} |"
        )
    notes = [f"{r.case}: {r.note}" for r in results if r.note]
    return "\n".join([*lines, "", *dict.fromkeys(notes)])


def run_cases(about: str, cases: Mapping[str, Callable[[int], list[Result]]], repeats: int) -> int:
    """A benchmark's command: run the cases asked for on one thread, print the table, write it as JSON if asked.

    Cases whose peers are not installed are left out with a line. Returns 1 where a promised ratio is missed, else 0.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(cases), help=f"some of {', '.join(cases)}")
    parser.add_argument("--repeats", type=int, default=repeats, help="measured turns of every contestant")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if unknown := set(arguments.cases) - set(cases):
        parser.error(f"cases {sorted(unknown)}; expected some of {', '.join(cases)}")
    results = []
    for name in arguments.cases:
        try:
            results += cases[name](arguments.repeats)
        except ImportError as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
    print(table(results))
    if arguments.output:
        write_file(arguments.output, json.dumps([result.as_row() for result in results], indent=2).encode())
    return int(any(result.missed for result in results))
