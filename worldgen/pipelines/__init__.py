"""Compositions of the model, the sampler and geometry.

generation     any mode: a clip and a matrix of levels (`generate`)
novel_views    known frames and new cameras, in one call of the sampler (`generate_views`)
view_schedule  which frames are generated together
filling        the frames of a clip that are not known yet, request by request (`fill`)
orbit          images to a world: inputs, camera_path, filling, lifting (`worldgen.orbit`)
restoration    damaged images to whole ones (`restore`, `denoise`)
"""

from worldgen.pipelines.camera_path import OrbitRequest
from worldgen.pipelines.filling import fill
from worldgen.pipelines.generation import generate
from worldgen.pipelines.inputs import Inputs, read_inputs
from worldgen.pipelines.lifting import Lifted, lift
from worldgen.pipelines.novel_views import Sampling, generate_views
from worldgen.pipelines.restoration import Restoration, denoise, restore
from worldgen.pipelines.view_schedule import Request, schedule, schedule_depth, schedule_path, schedule_singles

__all__ = [
    "Inputs",
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
    "read_inputs",
    "restore",
    "schedule",
    "schedule_depth",
    "schedule_path",
    "schedule_singles",
]
