"""Students: a model in a few numbers, as a change of low rank to the model it was distilled from."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geometry.errors import InputError
from geometry.io.files import write_file
from worldgen.models.lora import LowRank
from worldgen.models.weights import read_weights, write_weights
from worldgen.runtime.config import build, plain
from worldgen.sampling.defaults import SamplingDefaults

if TYPE_CHECKING:
    from worldgen.models.world_model import WorldModel


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


def load_student(folder: Path, facts: dict[str, Any]) -> "WorldModel":
    """The model whose base has the change added. Raises InputError for a base of other weights, or a change of another
    network."""
    from worldgen.models.world_model import WorldModel

    config = build(StudentConfig, facts, f"{folder}/config.json")
    try:
        base = WorldModel.load(config.base if config.base in WorldModel.names() else folder / config.base)
    except RecursionError as error:
        raise InputError(
            f"{folder} is a student of itself by way of {config.base!r}; expected another model"
        ) from error
    if base.weights_sha256 != config.base_sha256:
        raise InputError(
            f"{folder} changes weights {config.base_sha256[:12]} of {config.base!r}, whose weights here are "
            f"{base.weights_sha256[:12]}; expected the same"
        )
    state, digest = read_weights(folder)
    network = base.network.state_dict()
    change = LowRank(network, config.rank)
    try:
        change.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        raise InputError(
            f"{folder}: a change that does not fit {config.base!r} ({str(error).splitlines()[-1].strip()})"
        ) from error
    with torch.no_grad():
        base.network.load_state_dict(change.changed(network))
    base.config = replace(base.config, name=config.name, sampling=config.sampling)
    base.weights_sha256 = digest
    return base
