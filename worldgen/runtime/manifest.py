"""Provenance: what made a result, as plain data for `manifest.json`; the same for the same inputs."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from worldgen.runtime.config import as_first_stored, plain


def provenance() -> dict[str, Any]:
    """This package's version, and those of what its results depend on."""
    return {
        "generator": f"worldgen {version('worldgen')}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def model_identity(name: str, config: Any, weights_sha256: str) -> dict[str, str]:
    """Which model: its name, and digests of its configuration (a dataclass) and of its weights."""
    text = json.dumps(as_first_stored(plain(config)), sort_keys=True).encode()
    return {
        "name": name,
        "config_sha256": hashlib.sha256(text).hexdigest(),
        "weights_sha256": weights_sha256,
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write plain data with sorted keys. Raises ValueError for NaN or Inf, which JSON does not have."""
    path.write_text(json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
