"""Procedural worlds with exact truth."""

from worldgen.scenes.building import Builder, height_field, plain, texture
from worldgen.scenes.classes import SemanticClass, class_colours
from worldgen.scenes.families import FAMILIES, draw
from worldgen.scenes.filming import Shot, clear_of, views
from worldgen.scenes.layout import Boxes, boxes_of, draw_layout, layout
from worldgen.scenes.motion import Motion
from worldgen.scenes.render import render
from worldgen.scenes.scene import Light, Materials, Scene, stack
from worldgen.scenes.shapes import Shape
from worldgen.scenes.tabletop import tabletop
from worldgen.scenes.textures import Pattern, Textures
from worldgen.scenes.viewpoints import ring

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
    "class_colours",
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
