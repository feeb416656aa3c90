"""Provenance: what made a result, as plain data for `manifest.json`; the same for the same inputs."""

import hashlib
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from geometry.errors import InputError, note
from worldgen.runtime.config import as_first_stored, plain
from worldgen.runtime.ownership import generator
from worldgen.weights import about


def provenance() -> dict[str, Any]:
    """This package's version, and those of what its results depend on."""
    return {
        "generator": generator(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def model_identity(name: str, config: Any, weights_sha256: str) -> dict[str, str]:
    """Which model: its name, digests of its configuration (a dataclass) and weights; what embedded ones are."""
    text = json.dumps(as_first_stored(plain(config)), sort_keys=True).encode()
    said = about(weights_sha256)
    return {
        "name": name,
        "config_sha256": hashlib.sha256(text).hexdigest(),
        "weights_sha256": weights_sha256,
    } | ({} if said is None else {"about": said})


T = TypeVar("T")


def tried(what: str, make: Callable[[], T]) -> tuple[T | None, str]:
    """Do something that finished work must not be lost for: what fails is noted.

    Args:
        what: Beginning of the note, such as "mesh.glb is left out".
        make: What is tried.

    Returns:
        The result and "", or None and why there is none, for the manifest.
    """
    try:
        return make(), ""
    except Exception as error:  # also a fault of ours: it is told, and hours of work are kept
        why = " ".join(str(error).split())
        why = why if isinstance(error, InputError) else f"{type(error).__name__} {why}".strip()
        note(f"{what}: {why}")
        return None, why


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write plain data with sorted keys. Raises ValueError for NaN or Inf, which JSON does not have."""
    path.write_text(json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
