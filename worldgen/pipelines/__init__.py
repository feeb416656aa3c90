"""Short compositions of the model, the sampler and geometry. `worldgen.orbit` is in `worldgen.pipelines.orbit`."""

from worldgen.pipelines.camera_path import OrbitRequest
from worldgen.pipelines.filling import fill
from worldgen.pipelines.generation import generate
from worldgen.pipelines.lifting import Lifted, lift
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.restoration import Restoration, denoise, restore
from worldgen.pipelines.view_schedule import Request

__all__ = [
    "Lifted",
    "OrbitRequest",
    "Request",
    "Restoration",
    "Sampling",
    "denoise",
    "fill",
    "generate",
    "generate_views",
    "lift",
    "restore",
]
