"""The embedded weights, and what they are, in one sentence for all places that say it."""

import hashlib
from functools import cache
from pathlib import Path

EMBEDDED = Path(__file__).parent
ABOUT = "a research model for 64-pixel images, trained on procedural tabletops"
_OTHERS = {"fine": "a research model for images of 64 to 256 pixels, trained on procedural scenes of every family"}


def about(weights_sha256: str) -> str | None:
    """What a model of these weights is, if they are embedded ones: what manifests say of it.

    Args:
        weights_sha256: Of the model's files (`WorldModel.weights_sha256`).

    Returns:
        A sentence without its subject; None for other weights.
    """
    name = _embedded().get(weights_sha256)
    return None if name is None else _OTHERS.get(name, ABOUT)


@cache
def _embedded() -> dict[str, str]:
    """Names by the digest of their weights."""
    files = (path.parent / "weights.safetensors" for path in EMBEDDED.glob("*/config.json"))
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.parent.name for path in files}
