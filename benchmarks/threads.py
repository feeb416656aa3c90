"""Torch's threads on a quiet and on a loaded machine: `python -m benchmarks.threads`.

Samples four new views with `tiny`, and takes training steps of its transformer and of the convolutional codec, at one
thread and more, alone and beside processes that keep cores busy, each in a process of its own. Shows the median time by
the clock, and what the command line would choose (`worldgen.runtime.threads`): it should never be much slower than the
best. Run it on a machine that is quiet otherwise.

Exits with 1 where the same number of threads gave other bytes.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from geometry.errors import InputError
from worldgen.core.normalization import scene_scale_from_cameras
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.runtime.config import load
from worldgen.runtime.threads import System, choose
from worldgen.training.batches.batch import Batches
from worldgen.training.codec.config import CodecRun
from worldgen.training.codec.trainer import CodecTrainer
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.resumable import Resumable
from worldgen.training.engine.trainer import Trainer

_CONFIGS = Path(__file__).parents[1] / "configs"
_BUSY = "while True: pass"


def sampling(steps: int) -> tuple[list[float], str]:
    """Seconds of each of some samples of four new views, and a digest of what was sampled."""
    model = WorldModel.load("tiny")
    clip = Batches(load(RunConfig, _CONFIGS / "tiny.yaml", _SMALL), torch.device("cpu")).stream.footage(0).clip[:1]
    known, scale = clip.frames(slice(0, 2)), scene_scale_from_cameras(clip.cameras)
    seconds, made = [], []
    for seed in range(steps):
        began = time.perf_counter()
        made.append(generate_views(model, known, clip.cameras[:, 2:6], scale, Sampling(4, 1.5, seed=seed)).rgb)
        seconds.append(time.perf_counter() - began)
    return seconds, digest(made)


_SMALL = ("train.batch=2", "train.frames=[4]", "data.pool=2", "data.reuse=1000", "train.precision=fp32")


def transformer(steps: int) -> tuple[list[float], str]:
    """The same of training steps of `tiny`."""
    with tempfile.TemporaryDirectory() as folder:
        return stepped(Trainer(load(RunConfig, _CONFIGS / "tiny.yaml", (*_SMALL, f"output={folder}"))), steps)


def codec(steps: int) -> tuple[list[float], str]:
    """The same of training steps of the codec `vae`."""
    small = ("train.batch=4", "data.pool=2", "data.reuse=1000")
    with tempfile.TemporaryDirectory() as folder:
        return stepped(CodecTrainer(load(CodecRun, _CONFIGS / "vae.yaml", (*small, f"output={folder}"))), steps)


def stepped(trainer: Resumable, steps: int) -> tuple[list[float], str]:
    """Seconds of each step, and a digest of the weights after the last."""
    records = zip(range(steps), trainer.steps())
    return [record["seconds"] for _, record in records], digest(trainer.state().values())


CASES: dict[str, Callable[[int], tuple[list[float], str]]] = {
    "sampling of tiny": sampling,
    "training step, transformer": transformer,
    "training step, convolutional codec": codec,
}


def digest(tensors: Iterable[Tensor]) -> str:
    """Of all bytes."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """`count` processes that use a core each, as far as there is one."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measured(case: str, threads: int, steps: int) -> tuple[float, str]:
    """The median seconds of a case in a process of its own, without its first step, and its digest."""
    code = f"from benchmarks.threads import child; child({case!r}, {threads}, {steps + 1})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{case} with {threads} threads failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return median(found["seconds"][1:]), found["digest"]


def child(case: str, threads: int, steps: int) -> None:
    """What `measured` runs: prints seconds and digest as JSON."""
    torch.set_num_threads(threads)
    seconds, found = CASES[case](steps)
    print(json.dumps({"seconds": seconds, "digest": found}))


def report(counts: Sequence[int], loads: Sequence[int], steps: int, of: Sequence[str]) -> Report:
    """All cases at all numbers of threads beside all numbers of busy processes."""
    rows: list[list[Any]] = []
    digests: dict[tuple[str, int], set[str]] = {}
    for load_of in loads:
        with busy(load_of):
            time.sleep(1.0 if load_of else 0.0)
            chosen = choose(System(environment={})).count
            for case in of:
                seconds = []
                for count in counts:
                    took, found = measured(case, count, steps)
                    seconds.append(took)
                    digests.setdefault((case, count), set()).add(found)
                    print(f"{load_of} busy, {case}, {count} threads: {took:.3f} s", file=sys.stderr, flush=True)
                rows.append([case, load_of, *seconds, chosen])
    rows.sort(key=lambda row: of.index(row[0]))
    columns = {"case": "", "busy processes": ""} | {f"{n} thread{'s' * (n > 1)}, s": ".3f" for n in counts}
    table = Table.of(columns | {"the command line chooses": ""}, rows)
    misses = [
        f"{case} with {count} threads: {len(found)} different results" for (case, count), found in digests.items()
        if len(found) > 1
    ]  # fmt: skip
    notes = (
        f"Median by the clock of {steps} samples or steps after a first one, each row in processes of its own.",
        "The same number of threads gives the same bytes whatever the load; another number gives other last bits.",
    )
    return Report.now("Threads on a quiet and on a loaded machine", [table], notes, misses)


@reporting_errors
def main() -> int:
    """Measure, print the table, write the report."""
    parser = command(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default 1 2)")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 6], help="busy processes beside (default 0 1 6)")
    parser.add_argument("--steps", type=int, default=5, help="samples or steps of a case (default 5)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="default: all")
    arguments = parser.parse_args()
    if min(*arguments.threads, arguments.steps) < 1 or min(arguments.busy) < 0:
        raise InputError("--threads, --steps: expected 1 or more; --busy: 0 or more")
    made = report(arguments.threads, arguments.busy, arguments.steps, arguments.cases)
    return publish(made, arguments.report)


if __name__ == "__main__":
    sys.exit(main())
