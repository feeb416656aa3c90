"""A world model you steer with a camera and take apart as geometry.

Names are loaded when they are first asked for, so that `import worldgen` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "Cameras": "geometry.camera.cameras",
    "Clip": "worldgen.core.clip",
    "InputError": "geometry.errors",
    "World": "worldgen.core.world",
    "WorldModel": "worldgen.models.world_model",
    "generate": "worldgen.pipelines.generation",
    "orbit": "worldgen.pipelines.orbit",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
