"""Training steps of one checkout, measured in a process of its own, which `python -m benchmarks.throughput` starts.

Reads a line of JSON a request from stdin and answers with one: {"ask": NAME, ...} calls the function of that name. It
imports nothing of `benchmarks`, so that the package is the one that PYTHONPATH names.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from worldgen.runtime.config import load
from worldgen.runtime.precision import computes_half
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.trainer import Trainer

_SIDE = 1024  # of the matrices; larger ones are no faster on the CPUs seen
# By parts of the operations' names, the first that fits; what fits none is a pass over numbers.
_KINDS = {
    "attention": ("scaled_dot_product", "flash_attention"),
    "convolutions": ("conv",),
    "matrix products": ("mm", "linear", "matmul"),
    "copies": ("copy", "cat", "clone", "contiguous", "index", "gather", "_to_copy", "stack", "repeat"),
}
_PASSES, _BETWEEN = "norms and other passes", "Python, compiled blocks"
_CONDITIONING = ("_views", "_embed_level")  # methods of networks that have them


def _forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


# torch counts the attention of GPUs alone.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}


class Steps:
    """A run's training steps, one after the other.

    config     file of the run
    overrides  of its values
    """

    def __init__(self, config: str, overrides: list[str], folder: Path):
        run = load(RunConfig, Path(config), (*overrides, f"output={folder}", "train.budget_s=null"))
        self.trainer = Trainer(run)
        self.half = computes_half(run.train.precision, self.trainer.device)
        self._draw = self.trainer.batches.at
        self._name_parts()

    def describe(self) -> dict[str, Any]:
        """The run's name, its kind of network, and the precision of its products."""
        config = self.trainer.config
        return {"name": config.model.name, "backbone": config.model.backbone, "bf16": self.half}

    def flops(self, step: int) -> int:
        """Multiplications and additions of a step's forward and backward pass, attention's second scores included."""
        self._give(step)
        counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
        with torch.compiler.set_stance("force_eager"), counter:
            self.trainer.loss()[0].backward()
        for _, parameter in self.trainer.parameters():
            parameter.grad = None
        return counter.get_total_flops()

    def step(self, step: int, threads: int) -> dict[str, float]:
        """Seconds of a step whose batch is there, and the rate of matrix products around it, FLOP/s."""
        self._give(step)
        torch.set_num_threads(threads)
        before = rate(self.half)
        seconds = _seconds(self.trainer._train_step)
        return {"seconds": seconds, "rate": (before + rate(self.half)) / 2}

    def data(self, step: int, threads: int) -> float:
        """Seconds that drawing a step's batch takes on average: its share of a pool's rendering, and its own."""
        torch.set_num_threads(threads)
        data, stream = self.trainer.config.data, self.trainer.batches.stream
        number, _, _ = self.trainer.config.stage_at(step)
        render: Any = getattr(stream, "render_pool", None) or getattr(stream, "_render_pool", None)  # as it was called
        render(number, 1)  # compiles
        rendering = _seconds(lambda: render(number, 2))
        self._draw(step)
        return rendering / (data.pool * data.reuse) + _seconds(lambda: self._draw(step))

    def kinds(self, step: int, threads: int) -> dict[str, float]:
        """Seconds of a step by kind of operation."""
        self._give(step)
        torch.set_num_threads(threads)
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            self.trainer._train_step()
        found: Counter[str] = Counter()
        for event in recorded.events() or ():
            found[_kind(event)] += event.self_cpu_time_total / 1e6
        return dict(found)

    def _name_parts(self) -> None:
        """Have a profile tell the parts of a step that are no kind of operation."""
        trainer, network = self.trainer, self.trainer.model.network
        trainer._average = _recorded("optimizer", trainer._average)  # type: ignore[method-assign]
        for name in _CONDITIONING:
            if hasattr(network, name):
                setattr(network, name, _recorded("conditioning", getattr(network, name)))

    def _give(self, step: int) -> None:
        """Have the trainer be at a step whose batch takes no time."""
        batch = self._draw(step)
        self.trainer.step = step
        self.trainer.batches.at = lambda _: batch  # type: ignore[method-assign]


def rate(half: bool) -> float:
    """FLOP/s of products of large square matrices, the better of two turns."""
    a = torch.ones(_SIDE, _SIDE, dtype=torch.bfloat16 if half else torch.float32)
    turns = 8 if half else 2
    return max(2 * _SIDE**3 * turns / _seconds(lambda: [a @ a for _ in range(turns)]) for _ in range(2))


def _seconds(run: Callable[[], object]) -> float:
    """On one thread of the CPU's time, which others on the machine disturb less; on several by the clock."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    run()
    return clock() - began


def _recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        with record_function(name):
            return function(*arguments, **named)

    return run


def _kind(event: Any) -> str:
    """Of an operation: that of the part of the step it belongs to, or else its own."""
    above, names = event, []
    while above is not None:
        names.append(above.name)
        above = above.cpu_parent
    if "conditioning" in names:
        return "conditioning"
    if any(name == "optimizer" or name.startswith("Optimizer.") or "_foreach" in name for name in names):
        return "optimizer"
    if not event.name.startswith("aten::"):
        return _BETWEEN
    return next((kind for kind, parts in _KINDS.items() if any(part in event.name for part in parts)), _PASSES)


def main() -> None:
    """Answer requests until there are no more."""
    torch.set_num_threads(1)
    config, *overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, suppress(BrokenPipeError):
        steps = Steps(config, overrides, Path(folder))
        for line in sys.stdin:
            request = json.loads(line)
            answer = rate(**request["with"]) if request["ask"] == "rate" else None
            answer = getattr(steps, request["ask"])(**request["with"]) if answer is None else answer
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
