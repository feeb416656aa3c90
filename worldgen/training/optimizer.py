"""Optimizers and the learning-rate schedule."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from worldgen.training.config import TrainConfig
from worldgen.training.distributed import local, own_rows


def build_optimizers(
    parameters: Sequence[tuple[str, nn.Parameter]], config: TrainConfig
) -> dict[str, torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the blocks' matrices with AdamW for the rest, or AdamW for all.

    Muon's steps are scaled to AdamW's size (Liu et al. 2025, "Muon is scalable", eq. 4), so one rate serves both.
    """
    matrices, others = [], []
    for name, parameter in parameters:
        hidden = (
            parameter.ndim == 2 and name.startswith("blocks.") and not name.endswith((".modulation", "rays.weight"))
        )
        (matrices if hidden and config.optimizer == "muon" else others).append(parameter)
    adam = torch.optim.AdamW(
        others, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, foreach=True
    )
    if not matrices:
        return {"adamw": adam}
    kind = ShardedMuon if isinstance(matrices[0], DTensor) else torch.optim.Muon
    muon = kind(matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
    return {"adamw": adam, "muon": muon}


class ShardedMuon(torch.optim.Muon):
    """Muon for matrices whose rows are shards of several processes; equal to Muon on the whole matrices.

    What is orthogonalised is gathered whole in each process (torch's own step would multiply sharded bfloat16 matrices,
    which rounds otherwise and is slow); momentum and weights stay sharded.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
                update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                change = _orthogonal_change(update.full_tensor(), group)[own_rows(parameter)]
                local(parameter).mul_(1 - group["lr"] * group["weight_decay"]).add_(change)


def _orthogonal_change(update: Tensor, group: dict) -> Tensor:
    """What Muon adds to a whole matrix: its first step from zero, without momentum and decay."""
    start = nn.Parameter(torch.zeros_like(update))
    start.grad = update
    options = {name: group[name] for name in ("lr", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")}
    torch.optim.Muon([start], weight_decay=0.0, momentum=0.0, nesterov=False, **options).step()
    return start.detach()


def rate(config: TrainConfig, step: int) -> float:
    """The share of the learning rate at a step: warm up, hold, cool down to 0 (a trapezoid)."""
    left = (config.steps - step) / max(config.cooldown * config.steps, 1)
    return min(1.0, (step + 1) / max(config.warmup, 1), left)
