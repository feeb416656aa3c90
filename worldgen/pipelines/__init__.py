"""Short compositions of the model, the sampler and geometry."""

from worldgen.pipelines.generate import generate
from worldgen.pipelines.restore import Restoration, denoise, restore
from worldgen.pipelines.views import Sampling, generate_views

__all__ = [
    "Restoration",
    "Sampling",
    "denoise",
    "generate",
    "generate_views",
    "restore",
]
