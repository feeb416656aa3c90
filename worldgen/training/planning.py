"""`worldgen plan`: what a run costs, before any of it is allocated."""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from worldgen.core.conditioning import Conditioning
from worldgen.models.codec.files import load_codec
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import to_yaml
from worldgen.runtime.precision import computes_half
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.optimizer import build_optimizers


@dataclass(frozen=True)
class Plan:
    """What one process of a run needs. Counted is denoising; the work of a trained codec, of a first stage and of other
    loss terms is not.

    parameters     of the network and its word encoder
    state_bytes    weights, gradients, averages and the optimizers' moments
    working_bytes  the most that a training step holds beside these: activations and temporary tensors
    footage_bytes  the rendered views of a pool
    step_flops     multiplications and additions of a step's forward and backward pass
    sampling_bytes, sampling_flops  of one call of the network for one clip of the model's size, all its frames
    steps, budget_s  the length of the run; with a budget the steps are the most it can have
    """

    parameters: int
    state_bytes: int
    working_bytes: int
    footage_bytes: int
    step_flops: int
    sampling_bytes: int
    sampling_flops: int
    steps: int
    budget_s: float | None = None

    @property
    def peak_bytes(self) -> int:
        """The most that training holds at once."""
        return self.state_bytes + self.working_bytes + self.footage_bytes

    def lines(self, flops_per_s: float | None) -> list[str]:
        """The plan in words; with a time for a device of so many FLOP/s."""
        share = {"weights and optimizer": self.state_bytes, "activations": self.working_bytes,
                 "rendered views": self.footage_bytes}  # fmt: skip
        text = [
            f"parameters       {self.parameters / 1e6:.2f} million",
            f"training memory  {_size(self.peak_bytes)} ("
            + ", ".join(f"{n} {_size(b)}" for n, b in share.items())
            + ")",
            f"training step    {self.step_flops / 1e9:.1f} GFLOP, of {'' if self.budget_s is None else 'at most '}"
            f"{self.steps} {self.step_flops * self.steps:.2e}",
            f"sampling call    {self.sampling_flops / 1e9:.1f} GFLOP, {_size(self.sampling_bytes)}",
        ]
        if flops_per_s is not None:
            seconds = self.step_flops / flops_per_s
            whole = f"{self.steps * seconds / 3600:.3g} h in all"
            if self.budget_s is not None and self.steps * seconds > self.budget_s:
                whole = f"at most {int(self.budget_s / seconds)} steps in the {self.budget_s:g} s of train.budget_s"
            text.append(
                f"time             at least {seconds:.3g} s a step, {whole}, at the "
                f"{flops_per_s / 1e9:.0f} GFLOP/s that matrix products reach here; rendering and small operations come "
                "on top"
            )
        return text


def plan(config: RunConfig, device: str = "cpu") -> Plan:
    """Take a training step of the largest stage with tensors that have shapes but no memory.

    Args:
        config: The run.
        device: The kind of device the run is planned for.

    Returns:
        What was counted.

    Raises:
        InputError: A student's run.
    """
    if config.distill is not None:
        raise InputError("the plan of a run with distill; expected a model's run, students are not planned yet")
    stage = max(config.stages, key=lambda stage: stage.batch * max(stage.frames) * stage.size_px**2)
    weights = config.model.codec_weights
    codec = None if weights is None else load_codec(weights)
    alone = replace(config.model, coarse=None)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device(device):
        model = WorldModel.create(alone, codec, checkpointing=config.train.checkpointing).training(True)
        parameters = [parameter for _, parameter in model.parameters()]
        state = sum(p.numel() * p.element_size() for p in parameters)
        momentum = {"muon": 1, "adamw": 2}
        moments = sum(
            momentum[name] * p.numel() * p.element_size()
            for name, optimizer in build_optimizers(model.parameters(), config.train).items()
            for group in optimizer.param_groups
            for p in group["params"]
        )
        half = computes_half(config.train.precision, torch.device(device))
        x, level, conditioning = example_inputs(config.model, stage.batch, max(stage.frames), stage.size_px)

        def step() -> Tensor:
            for parameter in parameters:
                parameter.grad = None
            with torch.autocast(device, torch.bfloat16, enabled=half):
                estimate = model.denoiser()(x, level, conditioning)
            loss = (estimate - x).float().square().mean()
            loss.backward()
            return loss

        step_flops, working = _measured(step)
        gradients = sum(p.grad.numel() * p.grad.element_size() for p in parameters if p.grad is not None)
        sampled = example_inputs(config.model, 1, config.model.frames, config.model.size_px)
        with torch.no_grad():
            sampling_flops, sampling = _measured(lambda: model.denoiser()(*sampled))
    maps = 3 + 1 + 3 * config.model.codec.layout
    pixels = config.data.pool * stage.batch * config.data.views * stage.size_px**2
    return Plan(
        sum(p.numel() for p in parameters),
        (2 + len(config.train.averages)) * state + gradients + moments,
        working - gradients,
        4 * maps * pixels,
        step_flops,
        sampling + state,
        sampling_flops,
        config.train.steps,
        config.train.budget_s,
    )


def describe(config: RunConfig, device: str) -> str:
    """The plan in words, with a time where the device is present, and the configuration in full.

    Args:
        config: The run.
        device: What it is planned for, such as "cpu" or "cuda".

    Raises:
        InputError: A device torch does not know, or a student's run.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"device {device!r}; expected cpu, cuda or another that torch knows") from error
    here = kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())
    half = computes_half(config.train.precision, torch.device(kind))
    speed = matrix_speed(config.model.network.width, half, torch.device(kind)) if here else None
    return "\n".join([f"{config.model.name} on {device}", *plan(config, kind).lines(speed), "", to_yaml(config)])


def example_inputs(
    config: ModelConfig, batch: int, frames: int, size_px: int, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor, Conditioning]:
    """Inputs of a network, with all the conditioning it takes: x, levels, conditioning."""
    if device is not None:
        with torch.device(device):
            return example_inputs(config, batch, frames, size_px)
    side = size_px // config.codec.block
    channels = config.network.modalities
    pose, K = torch.eye(4).expand(batch, frames, 4, 4).clone(), torch.eye(3).expand(batch, frames, 3, 3).clone()
    cameras = Cameras(pose, K, (size_px, size_px), torch.zeros(batch, frames).long(), torch.zeros(batch, frames))
    memory, text = config.network.memory_channels, config.network.text_width
    conditioning = Conditioning(
        cameras,
        torch.ones(batch, dtype=torch.bool),
        memory=torch.zeros(batch, frames, memory, side, side) if memory else None,
        text=torch.zeros(batch, config.text.tokens, text) if text else None,
        text_mask=torch.ones(batch, config.text.tokens, dtype=torch.bool) if text else None,
        coarse=None if config.coarse is None else torch.zeros(batch, frames, sum(channels.values()), side, side),
    )
    x = torch.zeros(batch, frames, sum(channels.values()), side, side)
    return x, torch.ones(batch, frames, len(channels)), conditioning


def _measured(run: Callable[[], Any]) -> tuple[int, int]:
    """FLOPs of a function, and the most bytes that its tensors take at once."""
    with Allocations() as memory:
        run()
    with FlopCounterMode(display=False) as flops:  # a second run: it keeps tensors alive that recomputing frees
        run()
    return flops.get_total_flops(), memory.peak


class Allocations(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: Any) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known.add(storage)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


def matrix_speed(width: int, half: bool, device: torch.device, seconds: float = 0.5) -> float:
    """FLOP/s that matrix products of a width reach on this machine now, measured for half a second."""
    kind = torch.bfloat16 if half else torch.float32
    a, b = torch.randn(4096, width, device=device, dtype=kind), torch.randn(width, width, device=device, dtype=kind)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        float((a @ b)[0, 0])  # waits for the device
        best = max(best, 2 * 4096 * width * width / (time.perf_counter() - began))
    return best


def _size(count: float | int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
