"""Modules of diffusers, from a folder or the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geometry.errors import InputError


def load_module(
    what: str,
    kinds: Sequence[str],
    name_or_path: str | Path,
    subfolder: str | None,
    dtype: torch.dtype,
    local_files_only: bool,
) -> nn.Module:
    """A module with its weights, of one of the classes `kinds`; `what` it is names it in errors.

    Only safetensors are read, and no code of the repository runs. Raises InputError when it can't be had, or is of
    another class.
    """
    try:
        import diffusers
    except ModuleNotFoundError as error:
        if error.name != "diffusers":
            raise
        raise InputError('diffusers is not installed; pip install "worldgen[diffusers]"') from error
    where = f"{what} {str(name_or_path)!r}" + (f", subfolder {subfolder!r}" if subfolder else "")
    options: dict[str, Any] = {"subfolder": subfolder, "local_files_only": local_files_only}
    try:
        config: Any = getattr(diffusers, kinds[0]).load_config(str(name_or_path), **options)
        kind = config.get("_class_name")
        if kind not in kinds:
            raise InputError(f"{where}: class {kind}; expected one of {', '.join(kinds)}")
        loader = getattr(diffusers, kind).from_pretrained
        return loader(str(name_or_path), torch_dtype=dtype, use_safetensors=True, **options)
    except InputError:
        raise
    except Exception as error:  # the hub's client has errors of many kinds, few of them exported
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where}: {type(error).__name__} ({line}); expected a folder with config.json and safetensors, or a "
            "name on the Hugging Face hub and a network or a cache that has it"
        ) from error
