"""Short compositions of the model, the sampler and geometry."""

from worldgen.pipelines.generation import generate
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.restoration import Restoration, denoise, restore

__all__ = [
    "Restoration",
    "Sampling",
    "denoise",
    "generate",
    "generate_views",
    "restore",
]
