"""How many threads torch computes with.

Operations on the CPU end in a barrier where all threads wait for the slowest. Where other processes use the cores, one
thread is often waiting for a core, and all others for that one: with as many threads as cores a step can take several
times as long as with a single thread (docs/concepts/precision.md). So the number is that of the cores which are free.

Results are the same bytes at the same number of threads only. The number is chosen once, by the command line alone; the
Python API leaves torch as its caller set it.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_EXPLICIT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WATCHED_S = 0.1  # how long the cores are watched


@dataclass(frozen=True)
class Threads:
    """A number of threads.

    count   of them
    reason  why, in a few words
    chosen  False = the user has set it, torch knows it already
    """

    count: int
    reason: str
    chosen: bool = True


@dataclass(frozen=True)
class System:
    """Where the facts about a machine come from; the fields are there for tests.

    root         of /proc and /sys
    environment  variables
    cpus         logical CPUs that this process may use; None = all those it is allowed
    wait         lets a number of seconds pass without using a core
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    cpus: frozenset[int] | None = None
    wait: Callable[[float], None] = time.sleep

    def allowed_cpus(self) -> frozenset[int]:
        """Logical CPUs that this process may use (its affinity)."""
        if self.cpus is not None:
            return self.cpus
        if hasattr(os, "sched_getaffinity"):
            return frozenset(os.sched_getaffinity(0))
        return frozenset(range(os.cpu_count() or 1))

    def read(self, path: str) -> str:
        """A file below the root; "" where there is none."""
        try:
            return (self.root / path).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return ""


def choose(system: System | None = None) -> Threads:
    """The number of threads that suits this machine now.

    OMP_NUM_THREADS or MKL_NUM_THREADS decide where they are set. Otherwise it is the physical cores that this process
    may use, less those that others keep busy, at most the quota of its control group, at least one.

    Args:
        system: Where the facts come from; None = this machine. It is watched for a tenth of a second, during which this
            process should be idle.

    Returns:
        The number, and why.
    """
    system = System() if system is None else system
    for name in _EXPLICIT:
        first = system.environment.get(name, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return Threads(int(first), f"{name} is {first}", chosen=False)
    cpus = system.allowed_cpus()
    cores, quota = physical_cores(system, cpus), cpu_quota(system)
    if min(cores, quota) <= 1:
        return Threads(1, "one core")
    busy = busy_cpus(system, cpus)
    free = min(cores - busy, quota)
    limit = "" if quota >= cores else f", a quota of {quota:g}"
    return Threads(max(1, round(free)), f"{cores} cores, {busy:.1f} busy{limit}")


def use(system: System | None = None) -> Threads:
    """Set torch's number of threads to what `choose` says, unless the user has set it.

    For the start of a program; a library must not.
    """
    chosen = choose(system)
    if chosen.chosen:
        import torch

        torch.set_num_threads(chosen.count)
    return chosen


def physical_cores(system: System, cpus: frozenset[int]) -> int:
    """Physical cores that have at least one of the logical CPUs; as many as these where the system does not tell."""
    folder = "sys/devices/system/cpu"
    siblings = [system.read(f"{folder}/cpu{cpu}/topology/thread_siblings_list").strip() for cpu in sorted(cpus)]
    return max(1, len({listed or f"cpu {cpu}" for cpu, listed in zip(sorted(cpus), siblings)}))


def cpu_quota(system: System) -> float:
    """CPUs' worth of time that this process's control group may use; infinite without a limit."""
    quotas = [float("inf")]
    for line in system.read("proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = Path("sys/fs/cgroup" if not controllers else "sys/fs/cgroup/cpu")
        inner = folder / path.strip().lstrip("/")
        for group in (inner, *inner.parents):  # a group may use no more than those around it
            quotas.append(_quota_of(system, group))
            if group == folder:
                break
    return min(quotas)


def _quota_of(system: System, group: Path) -> float:
    """The limit of one control group: of version 2 (cpu.max), or 1."""
    limit = system.read(f"{group}/cpu.max").split()
    if not limit:
        limit = [system.read(f"{group}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (float(number) for number in limit)
    except ValueError:  # "max", or no such files
        return float("inf")
    return quota / period if quota > 0 and period > 0 else float("inf")


def busy_cpus(system: System, cpus: frozenset[int]) -> float:
    """How many of the logical CPUs others keep busy, over a tenth of a second; by the load of the last minute where the
    system does not count the time of each."""
    before = _times(system, cpus)
    if not before:
        return min(os.getloadavg()[0], float(len(cpus))) if hasattr(os, "getloadavg") else 0.0
    system.wait(_WATCHED_S)
    after, busy = _times(system, cpus), 0.0
    for cpu, (total, idle) in before.items():
        passed = after.get(cpu, (total, idle))[0] - total
        if passed > 0:
            busy += 1 - (after[cpu][1] - idle) / passed
    return busy


def _times(system: System, cpus: frozenset[int]) -> dict[int, tuple[int, int]]:
    """Of each CPU: all time that passed and its idle part, in ticks. What the host took away (steal) is not idle."""
    times = {}
    for line in system.read("proc/stat").splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in cpus:
            ticks = [int(value) for value in values[:8]]  # guests are part of user
            times[int(name[3:])] = (sum(ticks), sum(ticks[3:5]))  # idle, waiting for disks
    return times
