"""What other people's libraries find in a file, and how that is counted."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

VALIDATE = """
const fs = require("fs");
const validator = require(process.argv[1]);
const names = fs.readFileSync(0, "utf8").split("\\n").filter(name => name);
Promise.all(names.map(name => validator.validateBytes(new Uint8Array(fs.readFileSync(name)))))
  .then(reports => console.log(JSON.stringify(reports.map(report => report.issues))));
"""


class Wrong(Exception):
    """A library found something else than what was written."""


@dataclass(frozen=True)
class Tally:
    """The result of a format: files checked by each library (0: not installed), and what was wrong."""

    checked: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def check(self, name: str, read: Callable[[], Any]) -> None:
        """Count a check by one library, which raises where it finds something else; one that is missing makes none."""
        try:
            read()
        except ImportError:
            self.checked.setdefault(name, 0)
            return
        except Exception as error:  # any error of another library on our file is a finding
            self.wrong.append(f"{name}: {type(error).__name__} {str(error)[:200]}")
        self.checked[name] = self.checked.get(name, 0) + 1


def same(what: str, found: Any, wanted: torch.Tensor, limit: float = 1e-6) -> None:
    """Raise Wrong unless the numbers are those wanted, to a share of the largest."""
    found = torch.as_tensor(np.asarray(found).astype(np.float64))
    wanted = wanted.double()
    if found.shape != wanted.shape:
        raise Wrong(f"{what} of shape {tuple(found.shape)}; expected {tuple(wanted.shape)}")
    apart = float((found - wanted).abs().max()) if wanted.numel() else 0.0
    if apart > limit * max(1.0, float(wanted.abs().max()) if wanted.numel() else 1.0):
        raise Wrong(f"{what} {apart:.3g} off")


def khronos(paths: list[Path]) -> list[dict[str, Any]]:
    """The issues that Khronos' validator finds in GLB files. Raises ImportError without node or the module."""
    module, node = os.environ.get("GLTF_VALIDATOR", "gltf-validator"), shutil.which("node")
    if node is None or subprocess.run([node, "-e", f"require({module!r})"], capture_output=True).returncode:
        raise ImportError("node or its module gltf-validator is not here")
    names = "\n".join(map(str, paths))
    run = subprocess.run([node, "-e", VALIDATE, module], input=names, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
