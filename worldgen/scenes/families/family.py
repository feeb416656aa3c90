"""The families of scenes, by name: each is a function of (seed, numbers, held out)."""

from collections.abc import Callable

from geometry.errors import InputError
from worldgen.scenes.families.physics import physics
from worldgen.scenes.families.room import room
from worldgen.scenes.families.street import street
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.families.texture_soup import texture_soup
from worldgen.scenes.scene import Scene

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
