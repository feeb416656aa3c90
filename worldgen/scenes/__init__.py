"""Procedural worlds whose images, depth, normals, ids, flow and poses are exact, in space and time.

scene, shapes, textures, motion, classes  what a world is made of
families      endless series of scenes; `FAMILIES` lists them
cameras       how cameras are drawn for scenes
rendering     scenes to clips
physics       rigid bodies
layout        what a scenario says is there, as an image
captions      one sentence about a scene
tessellation, export, gallery  scenes as triangles, files and folders to look at
"""

from worldgen.scenes.cameras.sampling import ClipSpec, clear_of
from worldgen.scenes.cameras.viewpoints import ring
from worldgen.scenes.classes import SemanticClass, class_colors
from worldgen.scenes.families.builder import Builder, height_field, plain, texture
from worldgen.scenes.families.family import FAMILIES, Family, draw, find_family, views
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.gallery import write_gallery
from worldgen.scenes.layout import Boxes, boxes_of, draw_layout, scene_layout
from worldgen.scenes.motion import Motion
from worldgen.scenes.rendering.renderer import render
from worldgen.scenes.scene import Light, Materials, Scene, stack
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern, Textures

__all__ = [
    "FAMILIES", "Boxes", "Builder", "ClipSpec", "Family", "Light", "Materials", "Motion", "Pattern", "Scene",
    "SemanticClass", "Shape", "Textures", "boxes_of", "class_colors", "clear_of", "draw", "draw_layout", "find_family",
    "height_field", "plain", "render", "ring", "scene_layout", "stack", "tabletop", "texture", "views", "write_gallery",
]  # fmt: skip
