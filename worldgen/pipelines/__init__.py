"""Short compositions of the model, the sampler and geometry."""

from worldgen.pipelines.restore import Restoration, denoise, restore
from worldgen.pipelines.views import Sampling, generate_views

__all__ = [
    "Restoration",
    "Sampling",
    "denoise",
    "generate_views",
    "restore",
]
