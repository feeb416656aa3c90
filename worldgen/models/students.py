"""Students: a model of few sampling steps, stored as a change of low rank to the model it was distilled from."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.models.lora import LowRank
from worldgen.models.weights import read_weights, write_weights
from worldgen.runtime.config import plain
from worldgen.sampling.defaults import SamplingDefaults

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class StudentConfig:
    """A student's `config.json`.

    base         embedded name, or folder as seen from the student's, of the model that is changed
    base_sha256  of its weights: a change fits no others
    """

    name: str
    base: str
    base_sha256: str
    rank: int
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"a student of rank {self.rank}; expected 1 or more")


def save_student(config: StudentConfig, change: LowRank, folder: Path) -> None:
    """Write `config.json` and the change in 16 bits; `WorldModel.load` reads both."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights({name: value.half() for name, value in change.state_dict().items()}, folder)
    write_file(folder / "config.json", (json.dumps(plain(config), indent=2) + "\n").encode())


def load_change(config: StudentConfig, folder: Path, state: Mapping[str, Tensor]) -> tuple[LowRank, str]:
    """The change in a student's folder to the tensors of its base's network, and the sha256 of its files.

    Raises InputError for a change to another network.
    """
    stored, digest = read_weights(folder)
    change = LowRank(state, config.rank)
    try:
        change.load_state_dict({name: value.float() for name, value in stored.items()})
    except RuntimeError as error:
        raise InputError(
            f"{folder}: a change that does not fit {config.base!r} ({str(error).splitlines()[-1].strip()})"
        ) from error
    return change, digest


def load_changed(config: StudentConfig, folder: Path, network: N, sha256: str) -> tuple[N, str]:
    """A base's network with the change in a student's folder, and the sha256 of the change's files.

    Raises InputError for a base of other weights (`sha256`), or a change that does not fit.
    """
    if sha256 != config.base_sha256:
        raise InputError(
            f"{folder} changes weights {config.base_sha256[:12]} of {config.base!r}, whose weights here are "
            f"{sha256[:12]}; expected the same"
        )
    change, digest = load_change(config, folder, network.state_dict())
    return apply_change(network, change), digest


@torch.no_grad()
def apply_change(network: N, change: LowRank) -> N:
    """A copy of a network with a change added to its matrices."""
    changed = deepcopy(network)
    changed.load_state_dict(change.changed(network.state_dict()))
    return changed
