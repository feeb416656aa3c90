"""The values everything is about: clips and their modalities, conditioning, normalization, worlds.

clip           posed, timed frames
modalities     which maps of a clip are denoised, and how they become signals
conditioning   what a network is given besides the frames
normalization  to a network's frame and units, and back
view_distance  how far apart cameras are
world          a result, ready to be saved
"""

from worldgen.core.clip import Clip
from worldgen.core.conditioning import Conditioning, Encoded, MemoryRender
from worldgen.core.modalities import MODALITIES, Modality
from worldgen.core.normalization import Normalization, scene_scale, scene_scale_from_cameras
from worldgen.core.view_distance import farthest_first, nearest_camera, overlap, spread_order

__all__ = [
    "MODALITIES",
    "Clip",
    "Conditioning",
    "Encoded",
    "MemoryRender",
    "Modality",
    "Normalization",
    "farthest_first",
    "nearest_camera",
    "overlap",
    "scene_scale",
    "scene_scale_from_cameras",
    "spread_order",
]
