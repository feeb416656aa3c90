"""Short compositions of the model, the sampler and geometry."""

from worldgen.pipelines.views import Sampling, generate_views

__all__ = [
    "Sampling",
    "generate_views",
]
