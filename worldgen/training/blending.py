"""A model between two: what fine-tuning improved, without all of what it lost.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models": models on the straight line between a model and its
fine-tuned version work, and are often better than both ends.
"""

from pathlib import Path

import torch

from geometry.errors import InputError
from worldgen.models.world_model import WorldModel
from worldgen.runtime.atomic_dir import new_folder


def blend(first: str | Path, second: str | Path, share: float, output: Path) -> str:
    """Make the model with weights (1 - share) of the first and share of the second (`worldgen blend`).

    Args:
        first: Embedded name or folder of a model.
        second: Another one of the same network.
        share: 0 (the first) to 1 (the second).
        output: New or empty folder, which `WorldModel.load` reads; in int8, as training leaves it.

    Returns:
        A sentence of what was made.

    Raises:
        InputError: A share outside 0..1, models of different networks, a folder that holds something.
    """
    if not 0 <= share <= 1:
        raise InputError(f"share {share}; expected 0 (the first model) to 1 (the second)")
    with new_folder(output, kind="model", inputs=(first, second)) as folder:
        _blended(first, second, share).save(folder, int8=True)
    return f"{1 - share:g} of {first} and {share:g} of {second}: {output}"


def _blended(first: str | Path, second: str | Path, share: float) -> WorldModel:
    model, other = WorldModel.load(first, "cpu"), WorldModel.load(second, "cpu")
    for name in ("network", "text", "codec", "codec_weights", "process"):
        own, others = getattr(model.config, name), getattr(other.config, name)
        if own != others:
            raise InputError(f"{second} has {name} {others}; expected that of {first}, {own}")
    state, end = model.state(), other.state()
    model.load_state({name: torch.lerp(value, end[name], share) for name, value in state.items()})
    return model
