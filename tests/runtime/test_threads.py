"""The number of threads: what the user says, else the cores that are free."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from worldgen.cli import main
from worldgen.runtime import threads
from worldgen.runtime.threads import System, Threads, choose, use

Machine = Callable[..., System]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """`machine(cpus=4, busy=(0.5, 0, 0, 0), siblings=..., files={path: text}, ...)`: a system of files."""

    def make(
        cpus: int = 4,
        busy: Sequence[float] = (),
        siblings: Sequence[str] = (),
        files: dict[str, str] | None = None,
        allowed: set[int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> System:
        shares = [*busy, *[0.0] * (cpus - len(busy))]
        written = {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": s for n, s in enumerate(siblings)}
        for path, text in (written | (files or {})).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text + "\n")

        def tick(seconds: float) -> None:
            """Time passes: each CPU is busy for its share, half of that taken by the host."""
            ticks = round(1000 * seconds)
            lines = ["cpu 1 2 3 4 5 6 7 8 9 10"]
            for n, share in enumerate(shares):
                used = round(ticks * share)
                rest = ticks - used
                lines.append(f"cpu{n} {used // 2} 0 0 {rest // 2} {rest - rest // 2} 0 0 {used - used // 2} 7 7")
            stat = tmp_path / "proc" / "stat"
            stat.parent.mkdir(exist_ok=True)
            stat.write_text("\n".join(lines) + "\nctxt 5\n")

        tick(0.0)
        return System(tmp_path, environment or {}, frozenset(allowed or range(cpus)), tick)

    return make


@pytest.mark.parametrize(
    ("busy", "count"),
    [((), 4), ((0.3,), 4), ((1.0,), 3), ((0.5, 0.5), 3), ((1.0, 1.0, 0.7), 1), ((1.0, 1.0, 1.0, 1.0), 1)],
)
def test_it_is_the_cores_that_others_leave_free(machine: Machine, busy: tuple[float, ...], count: int) -> None:
    chosen = choose(machine(4, busy))
    assert chosen == Threads(count, f"4 cores, {sum(busy):.1f} busy")


def test_two_logical_cpus_of_one_core_count_once(machine: Machine) -> None:
    pairs = ("0-1", "0-1", "2-3", "2-3")
    assert choose(machine(4, siblings=pairs)).count == 2
    assert choose(machine(4, siblings=pairs, allowed={0, 2})).count == 2
    assert choose(machine(4, siblings=pairs, allowed={0, 1})).count == 1


def test_only_cpus_that_the_process_may_use_count(machine: Machine) -> None:
    assert choose(machine(8, busy=(1.0,) * 4, allowed={4, 5, 6})).count == 3
    assert choose(machine(8, busy=(1.0,) * 4, allowed={3, 4, 5})).count == 2


NESTED = {"proc/self/cgroup": "0::/jobs/one", "sys/fs/cgroup/jobs/one/cpu.max": "max 100000"}


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        (NESTED, 8),
        (NESTED | {"sys/fs/cgroup/jobs/cpu.max": "300000 100000"}, 3),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        ({"proc/self/cgroup": "nonsense", "sys/fs/cgroup/cpu.max": "a b c"}, 8),
    ],
)
def test_a_quota_of_the_control_group_or_one_around_it_limits(machine: Machine, files: dict, count: int) -> None:
    assert choose(machine(8, files=files)).count == count


def test_others_on_a_large_machine_do_not_count_against_a_small_quota(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}
    assert choose(machine(8, busy=(1.0,) * 5, files=files)) == Threads(2, "8 cores, 5.0 busy, a quota of 2")
    assert choose(machine(8, busy=(1.0,) * 7, files=files)).count == 1


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"OMP_NUM_THREADS": "3"}, Threads(3, "OMP_NUM_THREADS is 3", chosen=False)),
        ({"MKL_NUM_THREADS": " 2"}, Threads(2, "MKL_NUM_THREADS is 2", chosen=False)),
        ({"OMP_NUM_THREADS": "2,1"}, Threads(2, "OMP_NUM_THREADS is 2", chosen=False)),
        ({"OMP_NUM_THREADS": "0"}, Threads(4, "4 cores, 0.0 busy")),
        ({"OMP_NUM_THREADS": "many"}, Threads(4, "4 cores, 0.0 busy")),
    ],
)
def test_what_the_user_says_decides_whatever_the_load(machine: Machine, environment: dict, wanted: Threads) -> None:
    assert choose(machine(4, environment=environment)) == wanted
    if not wanted.chosen:
        assert choose(machine(4, busy=(1.0,) * 4, environment=environment)) == wanted


def test_a_system_that_tells_nothing_goes_by_the_load_of_the_last_minute(tmp_path: Path, monkeypatch) -> None:
    for load, count in ((0.2, 4), (2.0, 2), (30.0, 1)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert choose(System(tmp_path, {}, frozenset(range(4)))).count == count


def test_this_machine_gives_a_number_of_cores_it_has() -> None:
    assert 1 <= choose(System(environment={})).count <= (os.cpu_count() or 1)


def test_torch_is_told_unless_the_user_has(machine: Machine, monkeypatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    assert use(machine(4, busy=(1.0, 0.0, 0.0, 0.0))).count == 3 and told == [3]
    use(machine(4, environment={"OMP_NUM_THREADS": "2"}))
    assert told == [3]


def test_the_command_line_chooses_once_it_knows_what_to_do_and_nothing_else_does(monkeypatch, tmp_path: Path) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(threads, "use", lambda: chosen.append(1))
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert not chosen
    for command in (["train", str(tmp_path / "none.yaml")], ["plan", str(tmp_path / "none.yaml")]):
        chosen.clear()
        assert main(command) == 2 and chosen == [1]


def test_importing_the_package_leaves_torch_as_it_is(root: Path) -> None:
    code = (
        "import torch; torch.set_num_threads(3); import worldgen, worldgen.training.engine.run, worldgen.pipelines;"
        "assert torch.get_num_threads() == 3"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
