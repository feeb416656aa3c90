"""The families of scenes, by name: each is a function of (seed, numbers, held out)."""

from collections.abc import Callable

from geometry.errors import InputError
from worldgen.scenes.physics import physics
from worldgen.scenes.room import room
from worldgen.scenes.scene import Scene
from worldgen.scenes.street import street
from worldgen.scenes.tabletop import tabletop
from worldgen.scenes.texture_soup import texture_soup

FAMILIES: dict[str, Callable[[int, list[int], bool], Scene]] = {
    "tabletop": tabletop,
    "room": room,
    "street": street,
    "physics": physics,
    "texture_soup": texture_soup,
}


def draw(family: str, seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """The scenes of the given numbers in a family's endless series of a seed.

    Raises InputError for a family that does not exist or a negative number.
    """
    if family not in FAMILIES:
        raise InputError(f"scene family {family!r}; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[family](seed, indices, held_out)
