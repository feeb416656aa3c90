"""A world model you steer with a camera and take apart as geometry."""

from geometry.cameras import Cameras
from geometry.errors import InputError
from worldgen.clip import Clip
from worldgen.model import WorldModel
from worldgen.pipelines.orbit import orbit
from worldgen.world import World

__version__ = "0.1.0"

__all__ = ["Cameras", "Clip", "InputError", "World", "WorldModel", "orbit"]
