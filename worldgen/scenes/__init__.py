"""Procedural worlds with exact truth."""

from worldgen.scenes.cameras.sampling import Shot, clear_of, views
from worldgen.scenes.cameras.viewpoints import ring
from worldgen.scenes.classes import SemanticClass, class_colors
from worldgen.scenes.families.builder import Builder, height_field, plain, texture
from worldgen.scenes.families.family import FAMILIES, draw
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.layout import Boxes, boxes_of, draw_layout, layout
from worldgen.scenes.motion import Motion
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Light, Materials, Scene, stack
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern, Textures

__all__ = [
    "FAMILIES",
    "Boxes",
    "Builder",
    "Light",
    "Materials",
    "Motion",
    "Pattern",
    "Scene",
    "SemanticClass",
    "Shape",
    "Shot",
    "Textures",
    "boxes_of",
    "class_colors",
    "clear_of",
    "draw",
    "draw_layout",
    "height_field",
    "layout",
    "plain",
    "render",
    "ring",
    "stack",
    "tabletop",
    "texture",
    "views",
]
