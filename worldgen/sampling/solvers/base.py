"""What solvers are made of: weighted sums of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# One coefficient of a step: a number where all columns have the same, else [f, c, 1, 1].
Coefficient = float | Tensor
Memory = tuple[Tensor, ...]


def blend(coefficients: Sequence[Coefficient], tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors, each times its coefficient: all of them numbers, or all tensors."""
    first = coefficients[0]
    if isinstance(first, float):
        if len(coefficients) == 2 and -1e-12 < first + coefficients[1] - 1 < 1e-12:
            return torch.lerp(tensors[1], tensors[0], first)  # half the passes over memory
        total = first * tensors[0]
        for coefficient, tensor in zip(coefficients[1:], tensors[1:]):
            if coefficient != 0:
                total.add_(tensor, alpha=coefficient)  # type: ignore[arg-type]
        return total
    total = first * tensors[0]
    for coefficient, tensor in zip(coefficients[1:], tensors[1:]):
        total.addcmul_(coefficient, tensor)  # type: ignore[arg-type]
    return total


@dataclass(frozen=True)
class OneCall:
    """A solver without memory, correction or noise, unless it says so."""

    memory = 0
    corrects = False
    stochastic = False

    def correct(self, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, c: Sequence[Coefficient]) -> Tensor:
        raise AssertionError(f"{self} has no correction")
