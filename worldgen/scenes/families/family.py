"""`Family`: all that is known of a family of scenes, and `FAMILIES`, the table of them.

Whatever names families asks this table: training and its configurations, evaluations, galleries, help texts. A new
family is one module with a function of (seed, numbers, held out) and one row here, or from outside

    FAMILIES["spheres"] = Family("spheres in the dark", 100, draw_spheres, ((arc, 1.0),))

A scene, and the cameras drawn for it, are functions of (family, seed, number, held out): the same in every batch, order
and run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.optional import has_numba
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.cameras.sampling import CameraStyle, ClipSpec, Site, sample_cameras
from worldgen.scenes.families import physics, room, street, tabletop, texture_soup
from worldgen.scenes.scene import Scene


@dataclass(frozen=True)
class Family:
    """A family of scenes.

    Attributes:
        summary: What its scenes are, in a few words.
        number: Its number in the addresses of its random streams, different from those of other families; another
            number gives other scenes and other cameras.
        scenes: `scenes(seed, numbers, held_out)` gives a batch of the scenes of some numbers in the endless series of a
            seed; held-out scenes are of another series, which training never draws from.
        cameras: Camera styles, each with its chance.
        moves: Whether things move in some of its scenes.
        on_arcs: Whether training puts its cameras on arcs of given widths (`data.spreads_deg`), all at one moment,
            instead of drawing them from `cameras`.
        near_far_m: Depths between which contact sheets show it, metres.
        video_s: Seconds of its motion that a gallery's video lasts.
        needs_numba: Whether it needs the `[fast]` extra.
    """

    summary: str
    number: int
    scenes: Callable[[int, list[int], bool], Scene]
    cameras: tuple[tuple[CameraStyle, float], ...]
    moves: bool = False
    on_arcs: bool = False
    near_far_m: tuple[float, float] = (1.5, 15.0)
    video_s: float = 2.0
    needs_numba: bool = False


FAMILIES: dict[str, Family] = {
    "tabletop": Family(
        "a few solids on a textured ground", tabletop.NUMBER, tabletop.tabletop, tabletop.CAMERAS, on_arcs=True
    ),
    "room": Family(
        "furnished rooms seen from inside", room.NUMBER, room.room, room.CAMERAS, near_far_m=(0.6, 6.0)
    ),
    "street": Family(
        "a straight road with traffic, by day and night", street.NUMBER, street.street, street.CAMERAS, moves=True,
        near_far_m=(2.5, 60.0),
    ),
    "physics": Family(
        "balls and boxes that fall, roll and collide", physics.NUMBER, physics.physics, physics.CAMERAS, moves=True,
        needs_numba=True,
    ),
    "texture_soup": Family(
        "random solids, strongly textured", texture_soup.NUMBER, texture_soup.texture_soup, texture_soup.CAMERAS,
        moves=True,
    ),
}  # fmt: skip


def listed() -> str:
    """Every family with what its scenes are, as an enumeration for help texts."""
    rows = (f"{name} ({row.summary}{'; moving' if row.moves else ''})" for name, row in FAMILIES.items())
    return ", ".join(rows)


def find_family(name: str) -> Family:
    """The family of a name.

    Args:
        name: A key of `FAMILIES`.

    Returns:
        Its row.

    Raises:
        InputError: No such family, one whose random streams are another's, or one that needs a missing library.
    """
    if name not in FAMILIES:
        raise InputError(f"scene family {name!r}; expected one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    if shared := [other for other in FAMILIES if other != name and FAMILIES[other].number == family.number]:
        raise InputError(f"scene families {name} and {shared[0]} of number {family.number}; expected different numbers")
    if family.needs_numba and not has_numba():
        raise InputError(f"scene family {name} needs numba; install it with: pip install 'worldgen[fast]'")
    return family


def draw(family: str, seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """Scenes of a family.

    Args:
        family: A key of `FAMILIES`.
        seed: Of the family's endless series of scenes.
        indices: Their numbers in the series, 0 or more.
        held_out: Take the scenes from the series that training never draws from.

    Returns:
        A batch of the scenes, in the order of their numbers.

    Raises:
        InputError: No such family, a negative number, or a library that the family needs is missing.
    """
    return find_family(family).scenes(seed, indices, held_out)


def views(family: str, scene: Scene, seed: int, indices: list[int], held_out: bool, clip: ClipSpec) -> Cameras:
    """Cameras for scenes of a family, drawn as suits it, away from everything solid.

    Args:
        family: A key of `FAMILIES`.
        scene: b scenes, as `draw` gives them.
        seed: That they were drawn with.
        indices: That they were drawn with.
        held_out: That they were drawn with.
        clip: The frames wanted of each scene.

    Returns:
        Cameras of batch shape [b, f], with their times.

    Raises:
        InputError: No such family, or a library that it needs is missing.
    """
    row, clips = find_family(family), []
    for n, index in enumerate(indices):
        rng = stream(Stream.HELD_OUT_SCENES if held_out else Stream.TRAINING_SCENES, seed, index, row.number, 1)
        clips.append(sample_cameras(rng, Site(scene[n : n + 1], seed, index, held_out, clip), row.cameras))
    return Cameras(
        torch.stack([cameras.world_from_camera for cameras in clips]), torch.stack([cameras.K for cameras in clips]),
        clip.hw, torch.stack([cameras.view for cameras in clips]), torch.stack([cameras.time_s for cameras in clips]),
    )  # fmt: skip
