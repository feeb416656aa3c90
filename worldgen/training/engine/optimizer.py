"""Optimizers and the learning-rate schedule."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from geometry.shapes import Float
from worldgen.runtime.precision import computes_half
from worldgen.training.config.train import TrainConfig
from worldgen.training.engine.distributed import local, own_rows

_FEWEST_ROWS = 16  # of convolutions: what has fewer is an output


def build_optimizers(
    parameters: Sequence[tuple[str, nn.Parameter]], config: TrainConfig
) -> dict[str, torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the blocks' matrices and for convolutions, of which each output is a row, and AdamW
    for the rest, or AdamW for all.

    Muon's steps are scaled to AdamW's size (Liu et al. 2025, "Muon is scalable", eq. 4), so one rate serves both.
    """
    matrices, others = [], []
    for name, parameter in parameters:
        in_blocks = name.startswith("blocks.") and not name.endswith((".modulation", "rays.weight"))
        hidden = (parameter.ndim == 2 and in_blocks) or (parameter.ndim == 4 and len(parameter) >= _FEWEST_ROWS)
        (matrices if hidden and config.optimizer == "muon" else others).append(parameter)
    adam = torch.optim.AdamW(
        others, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, foreach=True
    )
    if not matrices:
        return {"adamw": adam}
    return {"adamw": adam, "muon": Muon(matrices, config.learning_rate, config.weight_decay)}


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized by Newton-Schulz (Jordan et al. 2024), with Nesterov's step and decoupled decay.

    As `torch.optim.Muon`, but matrices of one shape are batched, in float32 where the device has no bfloat16 arithmetic
    (there torch's takes four times as long as all the rest of a step), and rows may be shards of several processes:
    what is orthogonalized is gathered whole in each of them, momentum and weights stay sharded.
    """

    def __init__(self, matrices: Sequence[nn.Parameter], learning_rate: float, weight_decay: float):
        super().__init__(matrices, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._update(parameter, group["momentum"]).flatten(1)
                    by_shape.setdefault(update.shape, []).append((parameter, update))
            for shape, pairs in by_shape.items():
                changes = orthogonalized(torch.stack([update for _, update in pairs]))
                size = 0.2 * max(shape) ** 0.5  # that of AdamW's steps
                for (parameter, _), rows in zip(pairs, changes):
                    change = rows.view(parameter.shape)
                    own = change[own_rows(parameter)] if isinstance(parameter, DTensor) else change
                    local(parameter).mul_(1 - group["lr"] * group["weight_decay"]).add_(own, alpha=-group["lr"] * size)

    def _update(self, parameter: Tensor, momentum: float) -> Tensor:
        """The whole matrix that is to be orthogonalized."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(average, momentum)
        return update.full_tensor() if isinstance(update, DTensor) else update


def orthogonalized(matrices: Float[Tensor, "n r c"]) -> Float[Tensor, "n r c"]:
    """Matrices with all singular values near 1: five quintic Newton-Schulz steps, which leave them in about 0.7..1.2
    (Jordan et al. 2024). bfloat16 is enough, where the device has it."""
    x = matrices.to(torch.bfloat16 if computes_half("auto", matrices.device) else matrices.dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.mT if tall else x).to(matrices.dtype)


def rate(config: TrainConfig, step: int, steps: int) -> float:
    """The share of the learning rate at a step of `steps`: warm up, hold, cool down to 0 (a trapezoid)."""
    left = (steps - step) / max(config.cooldown * steps, 1)
    return min(1.0, (step + 1) / max(config.warmup, 1), left)
