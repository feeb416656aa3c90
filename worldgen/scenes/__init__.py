"""Procedural worlds with exact truth."""

from worldgen.scenes.render import render
from worldgen.scenes.scene import Scene
from worldgen.scenes.tabletop import tabletop
from worldgen.scenes.viewpoints import ring

__all__ = [
    "Scene",
    "render",
    "ring",
    "tabletop",
]
