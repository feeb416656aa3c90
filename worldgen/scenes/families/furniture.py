"""Furniture and household things, put together from primitives: each function adds one thing to a `Builder`.

`place` is where the thing stands (metres, on its floor), `heading` the direction its front faces (radians about z).
Sizes and materials are drawn from a numpy generator.
"""

import math

import numpy as np

from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families import materials
from worldgen.scenes.families.builder import Builder, Thing, plain, texture
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern


def table(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A table with four legs or one foot, and things on it."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.TABLE)
    x, y, z = rng.uniform(0.35, 0.6), rng.uniform(0.4, 0.9), rng.uniform(0.6, 0.78)
    wood = materials.wood(rng) if rng.random() < 0.7 else plain(materials.color(rng, 0.3), 0.03)
    gloss = rng.uniform(0, 0.25)
    if rng.random() < 0.25:
        x = y = (x + y) / 2
        spot.put(Shape.CYLINDER, (0, 0, z), (x, y, 0.02), wood, gloss=gloss)
        spot.put(Shape.CYLINDER, (0, 0, z / 2), (0.05, 0.05, z / 2 - 0.02), wood)
        spot.put(Shape.CYLINDER, (0, 0, 0.015), (0.25, 0.25, 0.015), wood)
    else:
        spot.put(Shape.BOX, (0, 0, z), (x, y, 0.02), wood, gloss=gloss)
        for i in (-1, 1):
            for j in (-1, 1):
                spot.put(Shape.BOX, (i * (x - 0.05), j * (y - 0.05), z / 2 - 0.01), (0.03, 0.03, z / 2 - 0.01), wood)
    for _ in range(rng.integers(1, 4)):
        offset = np.array([rng.uniform(-0.6, 0.6) * x, rng.uniform(-0.7, 0.7) * y, z + 0.02])
        knick_knack(rng, build, place + _turned(offset, heading))


def _turned(offset: np.ndarray, heading: float) -> np.ndarray:
    cosine, sine = math.cos(heading), math.sin(heading)
    return np.array([cosine * offset[0] - sine * offset[1], sine * offset[0] + cosine * offset[1], offset[2]])


def chair(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A chair with a seat, a back and legs."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.CHAIR)
    cover = materials.wood(rng) if rng.random() < 0.6 else materials.cloth(rng, 0.4)
    seat, back = rng.uniform(0.42, 0.48), rng.uniform(0.35, 0.5)
    spot.put(Shape.BOX, (0, 0, seat), (0.21, 0.21, 0.025), cover)
    spot.put(Shape.BOX, (-0.2, 0, seat + back / 2 + 0.05), (0.02, 0.2, back / 2), cover)
    for i in (-1, 1):
        for j in (-1, 1):
            spot.put(Shape.CYLINDER, (0.18 * i, 0.18 * j, seat / 2), (0.018, 0.018, seat / 2), cover)


def sofa(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A sofa or armchair: base, back, arms and cushions with round edges."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.SOFA)
    width, cover = rng.choice([0.4, 0.75, 1.0]), materials.cloth(rng, 0.6)
    soft = {"form": (0.25, 0.25)}
    spot.put(Shape.SUPERQUADRIC, (0, 0, 0.22), (0.42, width, 0.2), cover, **soft)
    spot.put(Shape.SUPERQUADRIC, (-0.34, 0, 0.55), (0.12, width, 0.35), cover, **soft)
    for side in (-1, 1):
        spot.put(Shape.SUPERQUADRIC, (0.02, side * width, 0.36), (0.42, 0.1, 0.26), cover, **soft)
    for n in range(rng.integers(0, 3)):
        spot.put(Shape.SUPERQUADRIC, (-0.1, (0.5 - n) * width * 0.9, 0.58), (0.1, 0.2, 0.2), materials.cloth(rng, 0.3),
                 form=(0.5, 0.35))  # fmt: skip


def bed(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A bed whose head end is at the back."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.BED)
    half = rng.uniform(0.45, 0.8)
    spot.put(Shape.BOX, (0, 0, 0.15), (1.0, half, 0.12), materials.wood(rng))
    spot.put(
        Shape.SUPERQUADRIC, (0.02, 0, 0.38), (0.97, half * 0.98, 0.13), materials.cloth(rng, 0.8), form=(0.3, 0.15)
    )
    spot.put(Shape.BOX, (-1.02, 0, 0.5), (0.03, half, 0.45), materials.wood(rng))
    for side in (-1, 1) if half > 0.6 else (0,):
        spot.put(Shape.SUPERQUADRIC, (-0.75, side * half / 2, 0.55), (0.2, 0.3, 0.08), materials.cloth(rng, 0.3),
                 form=(0.7, 0.5))  # fmt: skip


def shelf(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A bookcase with two to four boards, books as boxes with one texture a row, and things between."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.SHELF)
    width, height, wood = rng.uniform(0.35, 0.6), rng.uniform(0.7, 1.9), materials.wood(rng)
    spot.put(Shape.BOX, (-0.14, 0, height / 2), (0.01, width, height / 2), wood)
    for side in (-1, 1):
        spot.put(Shape.BOX, (0, side * width, height / 2), (0.15, 0.015, height / 2), wood)
    boards = rng.integers(2, 5)
    for n in range(boards + 1):
        spot.put(Shape.BOX, (0, 0, height * n / boards), (0.15, width, 0.012), wood)
    for n in range(boards):
        if rng.random() < 0.75:
            tall, length = height / boards * rng.uniform(0.3, 0.42), width * rng.uniform(0.4, 0.9)
            side = rng.uniform(-1, 1) * (width - length)
            a, b = materials.pair(rng, 0.5)
            books = texture(Pattern.BRICKS, a * 0.2, b, (1.0, rng.uniform(0.03, 0.06), 4.0), weight=(0, 0.06, 0.6),
                            sharpness=5.0)  # fmt: skip
            spot.put(Shape.BOX, (0.02, side, height * n / boards + tall), (0.1, length, tall), books)


def lamp(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float, lit: bool) -> None:
    """A floor lamp, with a light in its shade when lit."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.LAMP)
    height, shade = rng.uniform(1.2, 1.6), materials.from_hsv(rng.uniform(0.05, 0.15), rng.uniform(0.05, 0.4), 0.9)
    stand = plain(materials.color(rng, 0.1))
    spot.put(Shape.CYLINDER, (0, 0, 0.015), (0.14, 0.14, 0.015), stand, gloss=0.3)
    spot.put(Shape.CYLINDER, (0, 0, height / 2), (0.015, 0.015, height / 2), stand, gloss=0.3)
    spot.put(Shape.CYLINDER, (0, 0, height + 0.1), (0.18, 0.18, 0.13), plain(shade), glow=1.0 if lit else 0.0)
    if lit:
        warm = np.array([1.0, 0.8, 0.55]) * rng.uniform(0.9, 2.0)
        build.lamp(place + np.array([0, 0, height + 0.3]), warm)


def plant(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A pot with a bush in it."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.VEGETATION)
    pot, crown = rng.uniform(0.1, 0.2), rng.uniform(0.15, 0.4)
    spot.put(Shape.CYLINDER, (0, 0, pot), (pot, pot, pot), plain(materials.color(rng, 0.4), 0.05))
    leaves = materials.leaves(rng, 0.12)
    for _ in range(3):
        x, y = rng.normal(0, 0.3 * crown, 2)
        size = (crown * rng.uniform(0.4, 0.9), crown * rng.uniform(0.4, 0.9), crown * rng.uniform(0.6, 1.3))
        spot.put(Shape.BALL, (x, y, 2 * pot + crown), size, leaves)


def knick_knack(rng: np.random.Generator, build: Builder, place: np.ndarray) -> None:
    """A small thing of any shape, standing on a surface at `place`."""
    kind = (Shape.BALL, Shape.BOX, Shape.CYLINDER, Shape.CONE, Shape.TORUS, Shape.SUPERQUADRIC)[rng.integers(6)]
    size = rng.uniform(0.05, 0.13) * rng.uniform(0.6, 1.4, 3)
    form = (0.3, 0.3) if kind == Shape.TORUS else tuple(rng.uniform(0.3, 1.5, 2))
    if kind == Shape.TORUS:
        size[2] = 0.3 * size[0]
    Thing(build, place, rng.uniform(0, 6.28), build.thing(), SemanticClass.OBJECT).put(
        kind, (0, 0, size[2]), tuple(size), materials.anything(rng, float(2 * size.max())), form=form,
        gloss=rng.uniform(0, 0.4), shine=30.0,
    )  # fmt: skip


def picture(rng: np.random.Generator, build: Builder, place: np.ndarray, heading: float) -> None:
    """A framed picture whose back is at `place`."""
    spot = Thing(build, place, heading, build.thing(), SemanticClass.PICTURE)
    y, z = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.4)
    spot.put(Shape.BOX, (0.012, 0, 0), (0.012, y + 0.03, z + 0.03), plain(materials.color(rng, 0.2)))
    spot.put(Shape.BOX, (0.02, 0, 0), (0.012, y, z), materials.anything(rng, 1.0, 0.6))
