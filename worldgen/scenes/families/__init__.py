"""The families of scenes and what they are built from.

family     `Family` and the table `FAMILIES`; scenes and cameras by a family's name
builder    puts one scene together, part by part
materials  random colors and textures
tabletop, room, street, physics, texture_soup  one family each
furniture, street_parts  things that stand in rooms and streets
"""

from worldgen.scenes.families.builder import Builder, Thing, height_field, plain, texture
from worldgen.scenes.families.family import FAMILIES, Family, draw, find_family, views

__all__ = [
    "FAMILIES", "Builder", "Family", "Thing", "draw", "find_family", "height_field", "plain", "texture", "views",
]  # fmt: skip
