"""A change of low rank to a network's matrices, small enough to keep one for every purpose."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """W + up @ down for every matrix of a state that is larger than the rank (Hu et al. 2021, "LoRA", section 4.1).

    It changes nothing until `up` is trained.
    """

    def __init__(self, state: Mapping[str, Tensor], rank: int):
        super().__init__()
        sizes = {name: value.shape for name, value in state.items() if value.ndim == 2 and min(value.shape) > rank}
        # Parameters' names can't have dots.
        self.down = nn.ParameterDict(
            {_key(name): torch.randn(rank, columns) / columns**0.5 for name, (_, columns) in sizes.items()}
        )
        self.up = nn.ParameterDict({_key(name): torch.zeros(rows, rank) for name, (rows, _) in sizes.items()})

    def changed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state with the change added."""
        return {
            name: value + self.up[_key(name)] @ self.down[_key(name)] if _key(name) in self.up else value
            for name, value in state.items()
        }


def _key(name: str) -> str:
    return name.replace(".", "/")
