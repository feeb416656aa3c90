"""The `room` family: furnished rooms seen from inside.

Distributions (U = uniform):
size       U(3.2, 6.5) by U(3.2, 6.5) m, U(2.3, 3.0) m high, its middle at the origin; floor of planks 45%, tiles 25%,
           carpet; walls of `materials.wall`, one of them (40%) unlike the rest; skirting boards; 60% a rug
windows    one (60%) or two walls have an opening U(1.0, 2.2) m wide, sill U(0.5, 1.0) m, through which the sun shines
furniture  4 to 7 of table with chairs, sofa, bed, shelf, lamp, plant, things on the floor; along the walls or
           free standing, apart from each other; 0 to 4 images on the walls
light      day (70%): sun U(15, 50) degrees high through a window, bright ambient; evening: one or two lamps
cameras    walks 40%, arcs 25%, views of one moment from inside 20%, rigs 15%
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from geometry.camera.cameras import Cameras
from worldgen.runtime.rng import scene_numbers, scene_stream
from worldgen.scenes.cameras.sampling import CameraStyle, Site, aim, fan, on_sphere, shares
from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families import furniture, materials
from worldgen.scenes.families.builder import Builder, Vector, plain
from worldgen.scenes.scene import Scene, stack
from worldgen.scenes.shapes import Shape

NUMBER = 1
_THICK = 0.1  # half the walls' thickness


def room(seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """The scenes of some numbers in the endless series of a seed. Raises InputError for a negative number."""
    return stack([_scene(scene_stream(seed, index, NUMBER, held_out)) for index in scene_numbers(indices)])


def room_size(seed: int, index: int, held_out: bool = False) -> np.ndarray:
    """Half width, half depth and height [3] of a room (metres), within which cameras may be."""
    return _size(scene_stream(seed, index, NUMBER, held_out))


def _size(rng: np.random.Generator) -> np.ndarray:
    return np.array([rng.uniform(1.6, 3.25), rng.uniform(1.6, 3.25), rng.uniform(2.3, 3.0)])


def _scene(rng: np.random.Generator) -> Scene:
    half_x, half_y, height = _size(rng)
    build = Builder()
    day = bool(rng.random() < 0.7)
    _floor_and_ceiling(rng, build, half_x, half_y, height)
    sides = rng.permutation(4).tolist()
    windows = sides[: 1 if rng.random() < 0.6 else 2]
    paper, other = materials.wall(rng), materials.wall(rng)
    accent = sides[3] if rng.random() < 0.4 else -1
    for side in range(4):
        _wall(rng, build, side, (half_x, half_y, height), other if side == accent else paper, side in windows)
    lit = _furnish(rng, build, half_x, half_y, day)
    for side in sides[2:]:
        for _ in range(rng.integers(0, 3)):
            along = rng.uniform(-0.7, 0.7) * (half_y if side % 2 == 0 else half_x)
            place, heading = _on_wall(side, half_x, half_y, along)
            furniture.picture(rng, build, np.array([*place, rng.uniform(1.3, 1.7)]), heading)
    scene = build.scene(**_light(rng, day, int(windows[0]), lit))
    return replace(scene, captions=scene_captions(scene, ["in a room by day" if day else "in a room in the evening"]))


def _floor_and_ceiling(rng: np.random.Generator, build: Builder, x: float, y: float, height: float) -> None:
    kind = rng.random()
    covering = (
        materials.planks(rng) if kind < 0.45 else materials.tiles(rng) if kind < 0.7 else materials.cloth(rng, 1.0)
    )
    gloss = rng.uniform(0, 0.25) if kind < 0.7 else 0.0
    out = 2 * _THICK
    build.add(Shape.BOX, (0, 0, -0.1), (x + out, y + out, 0.1), covering, semantic=SemanticClass.FLOOR, gloss=gloss)
    white = plain(materials.from_hsv(0.1, 0.03, rng.uniform(0.85, 0.98)))
    build.add(Shape.BOX, (0, 0, height + 0.1), (x + out, y + out, 0.1), white, semantic=SemanticClass.WALL)
    if rng.random() < 0.6:
        size = (rng.uniform(0.3, 0.6) * x, rng.uniform(0.3, 0.6) * y, 0.006)
        place = (rng.uniform(-0.2, 0.2) * x, rng.uniform(-0.2, 0.2) * y, 0.006)
        kind = Shape.BOX if rng.random() < 0.75 else Shape.CYLINDER
        build.add(kind, place, size, materials.anything(rng, 1.5, flat=True), instance=build.thing(),
                  semantic=SemanticClass.RUG)  # fmt: skip


def _on_wall(side: int, half_x: float, half_y: float, along: float) -> tuple[np.ndarray, float]:
    """A point of a wall's inner face and the direction into the room. Sides: 0 at +x, 1 at +y, 2 at -x, 3 at -y."""
    outward = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][side], float)
    reach = half_x if side % 2 == 0 else half_y
    return outward * reach + along * np.array([-outward[1], outward[0]]), math.atan2(-outward[1], -outward[0])


def _wall(
    rng: np.random.Generator,
    build: Builder,
    side: int,
    size: Vector,
    paper: np.ndarray,
    window: bool,
) -> None:
    """One wall, around an opening if it has a window, with frame, sill and skirting board."""
    half_x, half_y, height = size
    wide = (half_y if side % 2 == 0 else half_x) + 2 * _THICK

    def block(low: Vector, high: Vector, skin: np.ndarray, depth: Vector) -> None:
        """A box from `low` to `high` (along the wall, height), at depths from the inner face inwards."""
        along, up = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
        face, heading = _on_wall(side, half_x, half_y, along)
        inward = np.array([math.cos(heading), math.sin(heading)])
        center = np.array([*(face + inward * (depth[0] + depth[1]) / 2), up])
        cosine, sine = inward
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        half = ((depth[1] - depth[0]) / 2, (high[0] - low[0]) / 2, (high[1] - low[1]) / 2)
        build.add(Shape.BOX, center, half, skin, rotation=turn, semantic=SemanticClass.WALL)

    thick = (-2 * _THICK, 0.0)
    if not window:
        block((-wide, 0), (wide, height), paper, thick)
    else:
        half = rng.uniform(0.5, 1.1)
        middle = rng.uniform(-1, 1) * max(0.0, wide - half - 0.5)
        sill, top = rng.uniform(0.5, 1.0), height - rng.uniform(0.15, 0.5)
        left, right = middle - half, middle + half
        for low, high in (((-wide, 0), (left, height)), ((right, 0), (wide, height)), ((left, 0), (right, sill)),
                          ((left, top), (right, height))):  # fmt: skip
            block(low, high, paper, thick)
        frame = plain(materials.from_hsv(0.1, rng.uniform(0, 0.3), rng.uniform(0.3, 0.95)))
        bars = [(left + 0.03, sill, right), (right, sill, right)] if rng.random() < 0.3 else []
        bars += [(middle + 0.02, sill, middle)] if rng.random() < 0.7 else []
        for edge, low_z, _ in bars:
            block((edge - 0.04, low_z), (edge, top), frame, (-0.12, -0.08))
        block((left - 0.05, sill - 0.04), (right + 0.05, sill), frame, (-0.15, 0.08))
    board = plain(materials.from_hsv(0.08, rng.uniform(0, 0.4), rng.uniform(0.4, 0.95)))
    block((-wide + 0.2, 0), (wide - 0.2, 0.08), board, (0.0, 0.012))


def _furnish(rng: np.random.Generator, build: Builder, half_x: float, half_y: float, day: bool) -> int:
    """Add things apart from each other; returns the number of lit lamps."""
    taken: list[tuple[np.ndarray, float]] = []

    def free(radius: float, at_wall: bool, depth: float) -> tuple[np.ndarray, float] | None:
        for _ in range(8):
            if at_wall:
                side = int(rng.integers(4))
                reach = (half_y if side % 2 == 0 else half_x) - radius
                face, heading = _on_wall(side, half_x, half_y, rng.uniform(-1, 1) * max(reach, 0.0))
                spot = face + depth * np.array([math.cos(heading), math.sin(heading)])
            else:
                room = np.maximum(np.array([half_x, half_y]) - radius - 0.1, 0.1)
                spot, heading = rng.uniform(-1, 1, 2) * room, rng.uniform(0, 2 * math.pi)
            if all(np.linalg.norm(spot - other) > radius + reach_ for other, reach_ in taken):
                taken.append((spot, radius))
                return np.array([*spot, 0.0]), heading
        return None

    lit = 0
    wanted = 1 if day else int(rng.integers(1, 3))
    for _ in range(wanted):
        if found := free(0.25, True, 0.35):
            furniture.lamp(rng, build, *found, lit=not day)
            lit += not day
    pieces: list[tuple[Callable[..., object], float, bool, float]] = [
        (furniture.sofa, 0.95, True, 0.5), (furniture.bed, 1.1, True, 1.06), (furniture.shelf, 0.55, True, 0.17),
        (furniture.shelf, 0.55, True, 0.17), (furniture.plant, 0.35, True, 0.4), (furniture.chair, 0.35, False, 0.0),
    ]  # fmt: skip
    if found := free(0.9, False, 0.0):
        furniture.table(rng, build, *found)
        for _ in range(rng.integers(0, 4)):
            angle = rng.uniform(0, 2 * math.pi)
            place = found[0] + 1.0 * np.array([math.cos(angle), math.sin(angle), 0])
            if abs(place[0]) < half_x - 0.3 and abs(place[1]) < half_y - 0.3:
                furniture.chair(rng, build, place, angle + math.pi + rng.normal(0, 0.2))
    for n in rng.permutation(len(pieces))[: rng.integers(2, 5)]:
        make, radius, at_wall, depth = pieces[n]
        if found := free(radius, at_wall, depth):
            make(rng, build, *found)
    for _ in range(rng.integers(1, 4)):
        if found := free(0.2, False, 0.0):
            furniture.knick_knack(rng, build, found[0])
    return lit


def _light(rng: np.random.Generator, day: bool, window: int, lit: int) -> dict[str, np.ndarray]:
    """Sun through the window, or lamps, with much ambient light, since walls scatter."""
    face, _ = _on_wall(window, 1.0, 1.0, 0.0)
    azimuth = math.atan2(face[1], face[0]) + rng.uniform(-0.8, 0.8)
    elevation = math.radians(rng.uniform(15, 50))
    flat = math.cos(elevation)
    to_sun = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(elevation)])
    horizon, zenith = materials.sky(rng, 1.0 if day else 0.04)
    common = {"to_sun": to_sun, "horizon": horizon, "zenith": zenith}
    if day:
        sun = rng.uniform(0.8, 1.8) * np.array([1, 0.95, 0.85])
        return common | {"sun": sun, "ambient": rng.uniform(0.4, 0.75) * np.array([0.97, 1, 1.03])}
    dim = rng.uniform(0.2, 0.35) if lit else 0.4
    return common | {"sun": np.zeros(3), "ambient": dim * np.array([1, 0.9, 0.75])}


def _inside(rng: np.random.Generator, site: Site, count: int) -> np.ndarray:
    """Points [count, 3] in a room at the height of a standing or sitting person's eyes."""
    half = room_size(site.seed, site.index, site.held_out)
    flat = rng.uniform(-1, 1, (count, 2)) * (half[:2] - 0.4)
    return np.concatenate([flat, np.full((count, 1), rng.uniform(0.9, 1.7))], 1)


def walk(rng: np.random.Generator, site: Site) -> Cameras:
    """A walk through a room from one point to another, looking around, with the sway of a hand."""
    start, end, target, target_end = _inside(rng, site, 4)
    share, count = shares(site.clip.frames)[:, None], site.clip.frames
    step = end - start
    eye = start + share * step * min(1.0, 0.35 * count / site.clip.fps / max(np.linalg.norm(step), 1e-6) + 0.3)
    eye = eye + rng.normal(0, 0.008, (count, 3))
    target = target + share * (target_end - target) * 0.5 - np.array([0, 0, 0.5])
    return aim(rng, site, eye, target + rng.normal(0, 0.01, (count, 3)), float(rng.uniform(55, 85)))


def room_arc(rng: np.random.Generator, site: Site) -> Cameras:
    """A segment of a circle within a room, looking at its middle."""
    half = room_size(site.seed, site.index, site.held_out)
    share = shares(site.clip.frames)
    azimuth = rng.uniform(0, 2 * math.pi) + math.radians(rng.uniform(20, 90)) * share
    reach = rng.uniform(0.55, 0.9) * (half[:2].min() - 0.3)
    eye = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), rng.uniform(1.0, 1.9) + 0 * share], -1)
    return aim(rng, site, eye, np.array([0, 0, rng.uniform(0.4, 1.1)]) + 0 * eye, float(rng.uniform(55, 85)))


def anywhere(rng: np.random.Generator, site: Site) -> Cameras:
    """Unordered views of one moment from points in a room, in any nearly level direction."""
    eye = _inside(rng, site, site.clip.frames)
    eye[1:] = eye[0] + 0.5 * (eye[1:] - eye[0])
    azimuth = rng.uniform(0, 2 * math.pi) + rng.normal(0, 0.8, len(eye))
    target = eye + on_sphere(azimuth, np.radians(rng.normal(-10, 10, len(eye))))
    return aim(rng, site, eye, target, float(rng.uniform(60, 90)), still=True)


def room_rig(rng: np.random.Generator, site: Site) -> Cameras:
    """Two to four cameras in a fan, carried through a room."""
    return fan(walk(rng, site), int(rng.integers(2, 5)), rng.uniform(40, 100))


CAMERAS: tuple[tuple[CameraStyle, float], ...] = ((walk, 0.4), (room_arc, 0.25), (anywhere, 0.2), (room_rig, 0.15))
