"""How much of a device's arithmetic training and sampling use, and where the time goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from benchmarks.shared.report import Table
from worldgen.models.world_model import WorldModel
from worldgen.runtime.precision import computes_half
from worldgen.training.batches.scene_stream import SceneStream
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.optimizer import build_optimizers
from worldgen.training.planning import example_inputs, matrix_speed, plan


@dataclass(frozen=True)
class Utilization:
    """How much of a device's arithmetic a run uses, and the operations that take most of the time, as a text table."""

    table: Table
    profile: str


def utilization(config: RunConfig, device: str, repeats: int = 10) -> Utilization:
    """A run's training steps and sampling calls, eager and compiled (regional: each block by itself).

    Model FLOPs utilization is the arithmetic of `worldgen plan` over the time taken, as a share of what matrix products
    of 8192 x 8192 reach on the device at the same precision.
    """
    where = torch.device(device)
    half = computes_half(config.train.precision, where)
    planned, best = plan(config, where.type), matrix_speed(8192 if where.type == "cuda" else 512, half, where)
    rows = []
    for what, flops, prepare in (
        (f"training step of {config.train.batch} clips", planned.step_flops, _training),
        ("sampling call of one clip", planned.sampling_flops, _sampling),
    ):
        ms = [1e3 * _seconds(prepare(config, where, half, compiled), where, repeats) for compiled in (False, True)]
        rows.append((what, *ms, *(100 * flops / (1e-3 * t) / best for t in ms)))
    stream = SceneStream(replace(config, data=replace(config.data, reuse=1)), where)
    pool = config.data.pool
    first = _seconds(lambda: stream.footage(0), where, 1)
    new = iter(range(pool, 10**9, pool))
    drawn = _seconds(lambda: stream.footage(next(new)), where, 3)
    per_step = drawn / pool / config.data.reuse
    notes = [
        f"{config.model.name}: {planned.parameters / 1e6:.1f}M parameters on {device}, matrix products reach "
        f"{best / 1e12:.3g} TFLOP/s.",
        f"Scenes: {1e3 * drawn:.1f} ms a pool of {pool} batches ({1e3 * first:.0f} ms the first), "
        f"{1e3 * per_step:.2f} ms a step at data.reuse {config.data.reuse}.",
    ]
    columns = {
        "work": "", "eager ms": ".2f", "compiled ms": ".2f", "utilization eager %": ".3g", "compiled %": ".3g",
    }  # fmt: skip
    table = Table.of(columns, rows, "Use of the device", notes)
    return Utilization(table, _profile(_training(config, where, half, False), where))


def _training(config: RunConfig, device: torch.device, half: bool, compiled: bool) -> Callable[[], object]:
    """A training step on the largest clips of the last stage, without drawing them."""
    model = WorldModel.create(config.model, checkpointing=config.train.checkpointing).training(True).to(device)
    _compile(model, compiled)
    optimizers = build_optimizers(model.parameters(), config.train)
    stage = config.stages[-1]
    x, level, conditioning = example_inputs(config.model, stage.batch, max(stage.frames), stage.size_px, device)

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            estimate = model.denoiser()(x, level, conditioning)
        loss = (estimate - x).float().square().mean()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def _sampling(config: RunConfig, device: torch.device, half: bool, compiled: bool) -> Callable[[], object]:
    """A call of the network for one clip."""
    model = WorldModel.create(config.model).training(False).to(device)
    _compile(model, compiled)
    inputs = example_inputs(config.model, 1, config.model.frames, config.model.size_px, device)

    def call() -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            return model.denoiser()(*inputs)

    return call


def _compile(model: WorldModel, compiled: bool) -> None:
    torch.compiler.reset()
    if compiled:
        for block in model.network.blocks:
            block.compile()


def _seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median by the clock, after two unmeasured turns where there are several."""
    taken = []
    for turn in range(repeats + 2 if repeats > 1 else 1):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= 2 or repeats == 1:
            taken.append(time.perf_counter() - began)
    return median(taken)


def _profile(run: Callable[[], object], device: torch.device) -> str:
    """The operations that take most of the time."""
    from torch.profiler import ProfilerActivity, profile

    run()
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=kinds) as recorded:
        run()
    key = f"self_{device.type}_time_total"
    return recorded.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=60)
