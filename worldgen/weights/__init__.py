"""The embedded weights, and what they are, in one sentence for all places that say it."""

import hashlib
from functools import cache
from pathlib import Path

EMBEDDED = Path(__file__).parent
ABOUT = "a research model for 64-pixel images, trained on procedural tabletops"


def about(weights_sha256: str) -> str | None:
    """What a model of these weights is, if they are embedded ones: what manifests say of it.

    Args:
        weights_sha256: Of the model's files (`WorldModel.weights_sha256`).

    Returns:
        A sentence without its subject; None for other weights.
    """
    return ABOUT if weights_sha256 in _embedded() else None


@cache
def _embedded() -> frozenset[str]:
    files = (path.parent / "weights.safetensors" for path in EMBEDDED.glob("*/config.json"))
    return frozenset(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
