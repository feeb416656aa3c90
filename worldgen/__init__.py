"""A world model you steer with a camera and take apart as geometry.

Names are loaded when they are first asked for, so that `import worldgen` costs nothing.
"""

from typing import TYPE_CHECKING

from geometry.lazy import lazy

if TYPE_CHECKING:
    from geometry.camera.cameras import Cameras
    from geometry.errors import InputError
    from worldgen.core.clip import Clip
    from worldgen.core.world import World
    from worldgen.models.world_model import WorldModel
    from worldgen.pipelines.generation import generate
    from worldgen.pipelines.orbit import orbit

__version__ = "0.1.0"

__all__ = ["Cameras", "Clip", "InputError", "World", "WorldModel", "generate", "orbit"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "geometry.camera.cameras": ["Cameras"],
        "geometry.errors": ["InputError"],
        "worldgen.core.clip": ["Clip"],
        "worldgen.core.world": ["World"],
        "worldgen.models.world_model": ["WorldModel"],
        "worldgen.pipelines.generation": ["generate"],
        "worldgen.pipelines.orbit": ["orbit"],
    },
)
