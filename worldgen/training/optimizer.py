"""Optimizers and the learning-rate schedule."""

from collections.abc import Sequence

import torch
from torch import nn

from worldgen.training.config import TrainConfig


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
    muon = torch.optim.Muon(
        matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return {"adamw": adam, "muon": muon}


def rate(config: TrainConfig, step: int) -> float:
    """The share of the learning rate at a step: warm up, hold, cool down to 0 (a trapezoid)."""
    left = (config.steps - step) / max(config.cooldown * config.steps, 1)
    return min(1.0, (step + 1) / max(config.warmup, 1), left)
