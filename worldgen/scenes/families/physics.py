"""The `physics` family: balls and boxes that fall, bounce, roll, slide, collide and topple. Needs numba (`[fast]`).

Distributions (U = uniform):
event         drop (30%): 3 to 7 bodies fall from 0.6 m and more, turning; tower (25%): 3 to 5 boxes, hit by a thrown
              ball; wall (15%): six boxes in rows of three, two and one, hit by a ball; roll (15%): 2 to 4 balls
              rolling through 2 to 4 standing boxes; throw (15%): 2 to 4 bodies thrown towards the middle
bodies        half extents U(0.12, 0.35) m; density 1; restitution U(0, 0.7) (0 in towers), friction U(0.3, 0.8)
time          two seconds, 30 moments a second; the first contact falls within the first second
materials     any of `materials.anything`, 40% glossy, over a floor of tiles, planks or noise; sun and sky as outdoors
cameras       arcs 50%, on a tripod 30%, dollies 20%
"""

import math
from dataclasses import replace

import numpy as np
import torch

from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from worldgen.runtime.rng import scene_numbers, scene_stream
from worldgen.scenes.cameras.sampling import CameraStyle, arc, dolly, tripod
from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families import materials
from worldgen.scenes.families.builder import Builder
from worldgen.scenes.physics.bodies import RigidBodies
from worldgen.scenes.physics.dynamics import simulate
from worldgen.scenes.scene import Scene, stack
from worldgen.scenes.shapes import Shape

NUMBER = 3
CAMERAS: tuple[tuple[CameraStyle, float], ...] = ((arc, 0.5), (tripod, 0.3), (dolly, 0.2))
DURATION_S = 2.0


def physics(seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """The scenes of some numbers in the endless series of a seed.

    Raises InputError for a negative number, or where numba is missing.
    """
    return stack([_scene(scene_stream(seed, index, NUMBER, held_out)) for index in scene_numbers(indices)])


class _Start:
    """Collects the bodies at the start."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.rows = rng, []

    def add(
        self,
        kind: Shape,
        size: np.ndarray,
        place: np.ndarray,
        velocity: np.ndarray | None = None,
        spin: np.ndarray | None = None,
        rotation: np.ndarray | None = None,
        bounce: float | None = None,
    ) -> None:
        """Add one body; its mass follows from its volume at one kilogram a litre."""
        volume = float(np.prod(size)) * (4.19 if kind == Shape.BALL else 8.0)
        self.rows.append((
            int(kind), size, 1000 * volume, self.rng.uniform(0, 0.7) if bounce is None else bounce,
            self.rng.uniform(0.3, 0.8), place, np.eye(3) if rotation is None else rotation,
            np.zeros(3) if velocity is None else velocity, np.zeros(3) if spin is None else spin,
        ))  # fmt: skip

    def bodies(self) -> RigidBodies:
        """As a batch of one world."""
        kind, size, mass, bounce, rub, place, turn, velocity, spin = (
            torch.from_numpy(np.stack([np.asarray(row[n]) for row in self.rows]))[None] for n in range(9)
        )
        rotation = quaternion_wxyz_from_matrix(turn.double())
        return RigidBodies(
            kind.long(), size.double(), mass, bounce, rub, place.double(), rotation, velocity.double(), spin.double()
        )

    def size(self, kind: Shape, low: float = 0.12, high: float = 0.35) -> np.ndarray:
        """Random half extents."""
        return np.full(3, self.rng.uniform(low, high)) if kind == Shape.BALL else self.rng.uniform(low, high, 3)

    def kind(self) -> Shape:
        """A ball or a box."""
        return Shape.BALL if self.rng.random() < 0.5 else Shape.BOX


def _scene(rng: np.random.Generator) -> Scene:
    event = ("drop", "tower", "wall", "roll", "throw")[rng.choice(5, p=[0.3, 0.25, 0.15, 0.15, 0.15])]
    start = _Start(rng)
    {"drop": _drop, "tower": _tower, "wall": _wall, "roll": _roll, "throw": _throw}[event](rng, start)
    bodies = start.bodies()
    motion = simulate(bodies, DURATION_S, steps_per_s=120)
    build = Builder(motion.time_s[0].numpy())
    rotation = matrix_from_quaternion_wxyz(motion.rotation[0]).numpy()
    for n, kind in enumerate(bodies.kind[0].tolist()):
        size = bodies.size[0, n].numpy()
        glossy = rng.uniform(0.1, 0.5) if rng.random() < 0.4 else 0.0
        build.add(Shape(kind), motion.position[0, n].numpy(), size, materials.anything(rng, float(2 * size.max()), 0.6),
                  rotation=rotation[n], instance=build.thing(), gloss=glossy, shine=40.0)  # fmt: skip
    pick = rng.random()
    floor = (
        materials.tiles(rng, 0.6)
        if pick < 0.4
        else materials.planks(rng)
        if pick < 0.7
        else materials.anything(rng, 2.0, 0.2, True)
    )
    build.add(Shape.PLANE, (0, 0, 0), (1, 1, 1), floor, semantic=SemanticClass.GROUND, haze_m=25.0)
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(25, 75))
    flat = math.cos(elevation)
    horizon, zenith = materials.sky(rng)
    scene = build.scene(
        (math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(elevation)),
        rng.uniform(0.6, 1.1) * np.array([1, 0.97, 0.9]), rng.uniform(0.3, 0.5) * np.ones(3), horizon, zenith,
    )  # fmt: skip
    setting = {"drop": "falling to the ground", "tower": "as a tower is hit", "wall": "as a wall is hit",
               "roll": "rolling over the floor", "throw": "flying at each other"}[event]  # fmt: skip
    return replace(scene, captions=scene_captions(scene, [setting]))


def _drop(rng: np.random.Generator, start: _Start) -> None:
    height = 0.6
    for _ in range(rng.integers(3, 8)):
        kind = start.kind()
        size = start.size(kind)
        height += float(np.linalg.norm(size))
        place = np.array([*rng.normal(0, 0.35, 2), height])
        start.add(kind, size, place, spin=rng.normal(0, 2, 3), rotation=_any_turn(rng))
        height += float(np.linalg.norm(size))
        height = min(height, 3.0 + rng.uniform(0, 0.5)) if len(start.rows) < 3 else height


def _any_turn(rng: np.random.Generator) -> np.ndarray:
    turn = materials.turned_axes(rng)
    return turn * np.sign(np.linalg.det(turn))


def _tower(rng: np.random.Generator, start: _Start) -> None:
    half, height = rng.uniform(0.14, 0.24), 0.0
    for _ in range(rng.integers(3, 6)):
        size = np.array([*(half * rng.uniform(0.8, 1.1, 2)), half * rng.uniform(0.5, 1.1)])
        place = np.array([*rng.normal(0, 0.08 * half, 2), height + size[2]])
        start.add(Shape.BOX, size, place, rotation=_about_z(rng.normal(0, 0.15)), bounce=0.0)
        height += 2 * size[2]
    _thrown_ball(rng, start, np.array([0, 0, rng.uniform(0.5, 0.95) * height]), rng.uniform(4, 8))


def _about_z(angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _thrown_ball(rng: np.random.Generator, start: _Start, target: np.ndarray, speed: float) -> None:
    """A ball thrown from 1.8 to 2.6 m away that reaches the target within a second."""
    azimuth, away = rng.uniform(0, 2 * math.pi), rng.uniform(1.8, 2.6)
    size = start.size(Shape.BALL, 0.16, 0.28)
    direction = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    flight = away / speed
    place = target + direction * away
    place[2] = max(place[2], size[0] + 0.02)
    rise = (target[2] - place[2]) / flight + 9.81 * flight / 2
    start.add(Shape.BALL, size, place, velocity=-direction * speed + np.array([0, 0, rise]), spin=rng.normal(0, 3, 3))


def _wall(rng: np.random.Generator, start: _Start) -> None:
    size, turn = rng.uniform(0.13, 0.22) * np.array([1.0, 1.4, 0.8]), rng.uniform(0, math.pi)
    for row in range(3):
        for n in range(3 - row):
            along = (n - (2 - row) / 2) * (2 * size[1] + 0.01)
            place = _about_z(turn) @ np.array([0, along, 0]) + np.array([0, 0, (2 * row + 1) * size[2]])
            start.add(Shape.BOX, size, place, rotation=_about_z(turn), bounce=0.0)
    _thrown_ball(rng, start, np.array([0, 0, rng.uniform(1, 4) * size[2]]), rng.uniform(4, 8))


def _roll(rng: np.random.Generator, start: _Start) -> None:
    for n in range(rng.integers(2, 5)):
        size, angle = start.size(Shape.BOX), 2 * math.pi * (n + rng.uniform(0.1, 0.6)) / 4
        place = np.array([0.7 * math.cos(angle), 0.7 * math.sin(angle), size[2]])
        start.add(Shape.BOX, size, place, rotation=_about_z(rng.uniform(0, math.pi)), bounce=0.1)
    for n in range(rng.integers(2, 5)):
        size, angle = start.size(Shape.BALL), 2 * math.pi * (n + rng.uniform(0.0, 0.7)) / 4
        away, speed = np.array([math.cos(angle), math.sin(angle), 0.0]), rng.uniform(1.5, 3.5)
        velocity = -speed * away + rng.normal(0, 0.3, 3) * np.array([1, 1, 0])
        spin = np.array([-velocity[1], velocity[0], 0.0]) / size[0]
        start.add(Shape.BALL, size, away * rng.uniform(1.6, 2.2) + np.array([0, 0, size[0]]), velocity, spin)


def _throw(rng: np.random.Generator, start: _Start) -> None:
    count, turn = rng.integers(2, 5), rng.uniform(0, 6)
    for n in range(count):
        kind, angle = start.kind(), turn + 2 * math.pi * n / count
        away, flight = np.array([math.cos(angle), math.sin(angle), 0.0]), rng.uniform(0.5, 0.8)
        place = away * rng.uniform(1.4, 2.0) + np.array([0, 0, rng.uniform(0.5, 1.0)])
        target = np.array([*rng.normal(0, 0.1, 2), rng.uniform(0.7, 1.2)])
        velocity = (target - place) / flight + np.array([0, 0, 9.81 * flight / 2])
        start.add(kind, start.size(kind), place, velocity, rng.normal(0, 4, 3), _any_turn(rng))
