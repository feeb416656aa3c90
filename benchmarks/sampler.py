"""Time outside the network beside diffusers' schedulers: `python -m benchmarks.sampler`.

One process, one thread, in turn; both get the same constant as the network's output, so what is timed is all the rest.
"steps": 30 steps, the schedule being made before; "runs": with the schedule's making. First both must come to the same
place. Exits with 1 if a promised ratio is missed by more than a fifth, or more than 2% of a step of the embedded model
are outside the network. diffusers has no part in the default install: `pip install "worldgen[diffusers]"`.
"""

import copy
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared.report import Report, missing, publish
from benchmarks.shared.timing import TURNS, Result, case_options, compare, measure, misses, table
from worldgen.core.conditioning import Conditioning
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.levels import Levels
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import EDM, VP, Flow, Process
from worldgen.sampling.sampler import begin, sample
from worldgen.sampling.solvers import DDIM, DPM2M, Euler, Solver, UniPC

Run = Callable[[], None]
TITLE = "Time outside the network"
STEPS = 30
MOST_OUTSIDE = 0.02  # of a step
SHAPES = {"small": (1, 4, 8, 8, 8), "large": (1, 16, 8, 64, 64)}
RUNS = 20  # of each contestant in a turn: a run is a few hundred microseconds


def ours(x: Tensor, constant: Tensor, solver: Solver, process: Process, schedule: Tensor) -> Callable[[], Run]:
    """Makes a run of our sampler with a network of constant output."""
    frames = x.shape[1]
    conditioning = blank(1, frames)

    def network(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        return constant

    denoiser = FunctionDenoiser(network, process, {"rgb": x.shape[2]})

    def prepare() -> Run:
        levels = Levels.full_sequence(frames, 1, schedule)
        start = begin(denoiser, x, levels, solver)
        states = sample(denoiser, x, x, levels, conditioning, solver, state=start)

        def run() -> None:
            for _ in states:
                pass

        return run

    return prepare


def theirs(x: Tensor, constant: Tensor, scheduler: Any) -> Callable[[], Run]:
    """The same by a scheduler of diffusers."""

    def prepare() -> Run:
        own = copy.deepcopy(scheduler)
        own.set_timesteps(STEPS)

        def run() -> None:
            y = x
            for now in own.timesteps:
                y = own.step(constant, now, y, return_dict=False)[0]

        return run

    return prepare


def schedulers() -> dict[str, tuple[Any, Solver, Process, dict[str, float]]]:
    """diffusers' schedulers, what we have for each, and the ratios promised by shape."""
    import diffusers as d

    clean = {"prediction_type": "sample"}
    return {
        "FlowMatchEuler": (d.FlowMatchEulerDiscreteScheduler(), Euler(), Flow(), {"small": 3, "large": 1.5}),
        "DDIM": (d.DDIMScheduler(clip_sample=False, **clean), DDIM(), VP(), {"small": 5, "large": 3}),
        "EulerDiscrete": (d.EulerDiscreteScheduler(**clean), Euler(), EDM(), {"small": 5, "large": 3}),
        "DPM-Solver++ 2M": (d.DPMSolverMultistepScheduler(**clean), DPM2M(), VP(), {"small": 5}),
        "UniPC": (d.UniPCMultistepScheduler(**clean), UniPC(), VP(), {"small": 5}),
    }


def overhead(shape: str, repeats: int) -> list[Result]:
    """Every scheduler at one shape."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)  # it wants `scale_model_input` called, which is a no-op here
    results: list[Result] = []
    with torch.inference_mode():
        x, constant = torch.randn(SHAPES[shape]), torch.randn(SHAPES[shape])
        for name, (scheduler, solver, process, targets) in schedulers().items():
            schedule = torch.linspace(1, 0, STEPS + 1, dtype=torch.float64)
            makers = {"worldgen": ours(x, constant, solver, process, schedule), name: theirs(x, constant, scheduler)}
            promised = {"worldgen": targets[shape]} if shape in targets else {}
            note = f"{RUNS} runs of {STEPS} steps at {SHAPES[shape]}"
            pools = {key: _pool(make, RUNS * (repeats + 1)) for key, make in makers.items()}
            results += compare(f"{shape} steps: {name}", pools, name, promised, repeats, note)
            whole = {key: _whole(make) for key, make in makers.items()}
            results += compare(f"{shape} runs: {name}", whole, name, {}, repeats, note)
    return results


def _pool(make: Callable[[], Run], count: int) -> Run:
    """RUNS runs a call, all of them prepared beforehand."""
    ready = [make() for _ in range(count)]

    def runs() -> None:
        for _ in range(RUNS):
            ready.pop()()

    return runs


def _whole(make: Callable[[], Run]) -> Run:
    def runs() -> None:
        for _ in range(RUNS):
            make()()

    return runs


def agreement() -> float:
    """The largest difference between our flow Euler and diffusers', by the same levels and a real function."""
    import diffusers as d

    x = torch.randn(SHAPES["small"])
    scheduler: Any = d.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    y = x
    for now, sigma in zip(scheduler.timesteps, scheduler.sigmas):
        y = scheduler.step((y - torch.tanh(y)) / sigma, now, y, return_dict=False)[0]
    levels = Levels.full_sequence(x.shape[1], 1, scheduler.sigmas.double())
    denoiser = FunctionDenoiser(lambda x, *_: torch.tanh(x), Flow(), {"rgb": x.shape[2]})
    *_, last = sample(denoiser, x, x, levels, blank(1, x.shape[1]), Euler())
    return float((last.x - y).abs().max())


def share_of_a_step() -> tuple[float, float]:
    """A step of the embedded model at 8 x 128 x 128 in milliseconds, and the share of it outside the network."""
    model, sampling = WorldModel.load("tiny"), Sampling()
    block = model.codec.block
    x = torch.randn(1, 8, sum(model.channels), 128 // block, 128 // block)
    conditioning = blank(1, 8)
    denoiser, inside = model.denoiser(), 0.0

    def timed(x: Tensor, level: Tensor, conditioning: Conditioning) -> Tensor:
        nonlocal inside
        start = time.perf_counter()
        x0 = denoiser(x, level, conditioning)
        inside += time.perf_counter() - start
        return x0

    with torch.inference_mode():
        start = time.perf_counter()
        levels = Levels.full_sequence(8, len(model.channels), sampling.steps)
        for _ in sample(FunctionDenoiser.like(denoiser, timed), x, x, levels, conditioning, Euler()):
            pass
        whole = time.perf_counter() - start
    return 1e3 * whole / sampling.steps, (whole - inside) / whole


def main() -> int:
    """Agree, then time."""
    cases = {name: partial(overhead, name) for name in SHAPES}
    parser = case_options(__doc__, list(cases), 7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    step_ms, outside = share_of_a_step()
    notes = [TURNS, f"8 x 128 x 128, tiny: {step_ms:.0f} ms a step, of it outside the network {100 * outside:.2f}%."]
    if outside > MOST_OUTSIDE:
        missed = f"{100 * outside:.2f}% of a step are outside the network (target {100 * MOST_OUTSIDE:g}%)"
        return publish(Report.now(TITLE, [], notes, [missed]), arguments.report)
    try:
        difference = agreement()
    except ImportError as error:
        return publish(Report.now(TITLE, [], [*notes, missing("diffusers", error)]), arguments.report)
    assert difference < 1e-5, f"the two end {difference} apart"
    results, left_out = measure(parser, arguments, cases)
    report = Report.now(TITLE, [table(results)], [*notes, *left_out], misses(results))
    return publish(report, arguments.report)


if __name__ == "__main__":
    sys.exit(main())
