"""Things that stand and move in a street, put together from primitives: each function adds the parts of one thing."""

import math

import numpy as np

from worldgen.scenes.families import materials
from worldgen.scenes.families.builder import Thing, plain, texture
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern

_WHEEL = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # a cylinder's axis along y


def car(rng: np.random.Generator, thing: Thing, lights: float) -> None:
    """A car of U(3.8, 4.8) m: body, cabin of glass, wheels and lights."""
    length, width, height = rng.uniform(1.9, 2.4), rng.uniform(0.85, 0.95), rng.uniform(0.26, 0.34)
    paint = plain(materials.color(rng, 0.5, 0.1, 0.95) if rng.random() < 0.7 else np.full(3, rng.uniform(0.02, 0.8)))
    glass = plain(np.array([0.02, 0.025, 0.03]))
    shiny = {"gloss": 0.35, "shine": 40.0}
    thing.put(Shape.SUPERQUADRIC, (0, 0, 0.32 + height), (length, width, height), paint, form=(0.25, 0.2), **shiny)
    shift, roof = rng.uniform(-0.5, 0.0), rng.uniform(0.26, 0.34)
    thing.put(Shape.SUPERQUADRIC, (shift, 0, 0.3 + 2 * height + roof * 0.75), (length * rng.uniform(0.5, 0.62),
              width * 0.88, roof), glass, form=(0.5, 0.3), **shiny)  # fmt: skip
    thing.put(Shape.SUPERQUADRIC, (shift, 0, 0.3 + 2 * height + roof * 1.55), (length * 0.4, width * 0.8, 0.05), paint,
              form=(0.4, 0.3), **shiny)  # fmt: skip
    _wheels(thing, 0.62 * length, width, 0.31)
    for side in (-1, 1):
        lamp, tail = plain(np.array([0.9, 0.88, 0.75])), plain(np.array([0.6, 0.03, 0.02]))
        thing.put(Shape.BOX, (length - 0.03, side * width * 0.7, 0.35 + height), (0.04, 0.13, 0.06), lamp, glow=lights)
        thing.put(Shape.BOX, (-length + 0.03, side * width * 0.7, 0.4 + height), (0.04, 0.12, 0.05), tail,
                  glow=lights * 0.6)  # fmt: skip


def _wheels(thing: Thing, reach: float, width: float, radius: float) -> None:
    rubber = plain(np.array([0.02, 0.02, 0.02]))
    for along in (-1, 1):
        for side in (-1, 1):
            thing.put(Shape.CYLINDER, (along * reach, side * (width - 0.1), radius), (radius, radius, 0.11), rubber,
                      rotation=_WHEEL)  # fmt: skip


def truck(rng: np.random.Generator, thing: Thing, lights: float) -> None:
    """A van or lorry: a cab and a box behind it."""
    length, height = rng.uniform(1.6, 3.2), rng.uniform(0.9, 1.4)
    a, b = materials.pair(rng, 0.4)
    side = plain(a, 0.04) if rng.random() < 0.5 else texture(Pattern.GLYPHS, a, b, (1.5, 1.5, 1.8), sharpness=8.0)
    cab = plain(materials.color(rng, 0.5, 0.2, 0.95))
    thing.put(Shape.BOX, (-0.7, 0, 0.5 + height), (length, 1.1, height), side)
    thing.put(Shape.SUPERQUADRIC, (length + 0.1, 0, 1.15), (0.75, 1.05, 0.85), cab, form=(0.25, 0.25), gloss=0.3)
    thing.put(Shape.BOX, (length + 0.45, 0, 1.5), (0.42, 0.95, 0.3), plain(np.array([0.02, 0.03, 0.03])), gloss=0.4)
    _wheels(thing, 0.75 * length, 1.1, 0.42)
    for y in (-0.8, 0.8):
        thing.put(Shape.BOX, (-0.72 - length, y, 0.7), (0.03, 0.12, 0.08), plain(np.array([0.6, 0.03, 0.02])),
                  glow=lights * 0.6)  # fmt: skip


def pedestrian(rng: np.random.Generator, thing: Thing) -> None:
    """A pedestrian walking: two legs, a coat and a head."""
    tall = rng.uniform(0.85, 1.05)
    coat, trousers = plain(materials.color(rng, 0.5, 0.1, 0.9), 0.1), plain(materials.color(rng, 0.2, 0.05, 0.5))
    skin = plain(np.array([0.75, 0.5, 0.38]) * rng.uniform(0.25, 1.0))
    for side in (-1, 1):
        lean = side * rng.uniform(0.15, 0.35)
        turn = np.array([[math.cos(lean), 0, math.sin(lean)], [0, 1, 0], [-math.sin(lean), 0, math.cos(lean)]])
        thing.put(Shape.CAPSULE, (-0.2 * math.sin(lean), 0.09 * side, 0.43 * tall), (0.08, 0.08, 0.42 * tall), trousers,
                  form=(0.8, 0.5), rotation=turn)  # fmt: skip
    thing.put(Shape.CAPSULE, (0, 0, 1.1 * tall), (0.16, 0.22, 0.36 * tall), coat, form=(0.5, 0.5))
    thing.put(Shape.BALL, (0.02, 0, 1.6 * tall), (0.1, 0.09, 0.13), skin)


def tree(rng: np.random.Generator, thing: Thing) -> None:
    """A trunk under one to three crowns, or a fir."""
    trunk = texture(Pattern.NOISE, (0.12, 0.07, 0.04), (0.3, 0.2, 0.12), (0.05, 0.05, 0.4), sharpness=3.0)
    height, leaves = rng.uniform(1.0, 1.9), materials.leaves(rng, rng.uniform(0.3, 0.7))
    thing.put(Shape.CYLINDER, (0, 0, height), (0.12, 0.12, height), trunk)
    if rng.random() < 0.25:
        for n in range(2):
            thing.put(Shape.CONE, (0, 0, height + 0.6 + 1.3 * n), (1.2 - 0.4 * n, 1.2 - 0.4 * n, 1.1), leaves)
        return
    for _ in range(rng.integers(1, 4)):
        offset = rng.normal(0, 0.4, 2)
        size = rng.uniform(0.8, 1.5) * rng.uniform(0.8, 1.2, 3)
        thing.put(Shape.BALL, (*offset, 2 * height + rng.uniform(0.2, 1.2)), tuple(size), leaves)


def street_lamp(rng: np.random.Generator, thing: Thing, lit: bool) -> None:
    """A lamp post that leans over the road to its front; lit, it gives light."""
    metal = plain(np.full(3, rng.uniform(0.03, 0.3)))
    height = rng.uniform(4.5, 6.0)
    thing.put(Shape.CYLINDER, (0, 0, height / 2), (0.06, 0.06, height / 2), metal)
    thing.put(Shape.BOX, (0.6, 0, height), (0.65, 0.04, 0.03), metal)
    glow = 1.5 if lit else 0.0
    thing.put(Shape.BOX, (1.1, 0, height - 0.06), (0.25, 0.1, 0.04), plain(np.array([1.0, 0.85, 0.6])), glow=glow)
    if lit:
        away = np.array([math.cos(thing.heading), math.sin(thing.heading), 0.0]) * 1.1
        color = np.array([1.0, 0.8, 0.5]) * rng.uniform(6, 14)
        thing.build.lamp(thing.place[0] + away + np.array([0, 0, height - 0.25]), color)


def traffic_light(rng: np.random.Generator, thing: Thing) -> None:
    """A post with three lights, one of them on, facing its front."""
    thing.put(Shape.CYLINDER, (0, 0, 1.4), (0.06, 0.06, 1.4), plain(np.full(3, 0.15)))
    thing.put(Shape.BOX, (0, 0, 3.2), (0.12, 0.16, 0.45), plain(np.full(3, 0.02)))
    on = int(rng.integers(3))
    for n, color in enumerate(((0.9, 0.05, 0.02), (0.9, 0.5, 0.02), (0.05, 0.8, 0.2))):
        share = 1.0 if n == on else 0.08
        thing.put(Shape.BALL, (0.1, 0, 3.5 - 0.3 * n), (0.06, 0.11, 0.11), plain(np.array(color) * share),
                  glow=1.2 * (n == on))  # fmt: skip


def sign(rng: np.random.Generator, thing: Thing) -> None:
    """A post with a round, square or wide sign, facing its front."""
    thing.put(Shape.CYLINDER, (0, 0, 1.1), (0.03, 0.03, 1.1), plain(np.full(3, 0.35)))
    a = materials.from_hsv(rng.choice([0.0, 0.6, 0.35, 0.13]), 0.85, 0.8)
    kind = rng.random()
    face = texture(Pattern.GLYPHS, a, (0.85, 0.85, 0.85), 0.4, sharpness=8.0, phase=tuple(rng.uniform(0, 6, 3)))
    if kind < 0.5:
        thing.put(Shape.CYLINDER, (0.04, 0, 2.4), (0.32, 0.32, 0.015), face,
                  rotation=np.array([[0, 0, 1.0], [0, 1.0, 0], [-1.0, 0, 0]]))  # fmt: skip
    else:
        thing.put(Shape.BOX, (0.04, 0, 2.5), (0.015, rng.uniform(0.3, 0.8), 0.3), face)


def building(rng: np.random.Generator, thing: Thing, size: np.ndarray, night: bool) -> None:
    """A house of half extents `size`, its front to its x: a facade of windows, a plinth, a roof."""
    base = materials.from_hsv(rng.uniform(0, 0.14), rng.uniform(0.05, 0.5), rng.uniform(0.35, 0.9))
    glass = np.array([0.5, 0.4, 0.2]) * rng.uniform(0.2, 1.4) if night else np.array([0.06, 0.08, 0.11])
    window = np.array([rng.uniform(1.3, 2.6), rng.uniform(1.3, 2.6), rng.uniform(2.2, 3.2)])
    facade = texture(
        Pattern.BRICKS, base * (0.25 if night else 1.0), glass, window, phase=(rng.uniform(0, 6), rng.uniform(0, 6), 0),
        weight=(0.0, rng.uniform(0.35, 0.6), 0.9 if night else 0.4), sharpness=6.0, grain=0.05,
    )  # fmt: skip
    x, y, z = size
    thing.put(Shape.BOX, (0, 0, z), (x, y, z), facade, glow=0.5 if night else 0.0)
    thing.put(Shape.BOX, (0, 0, 0.4), (x + 0.06, y + 0.06, 0.4), plain(base * 0.5, 0.1))
    roof = plain(materials.from_hsv(rng.uniform(0, 0.08), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.6)), 0.1)
    if rng.random() < 0.4:
        thing.put(Shape.BOX, (0, 0, 2 * z + 0.15), (x + 0.2, y + 0.2, 0.15), roof)
    elif z < 5:
        half = math.radians(45)
        turn = np.array([[math.cos(half), 0, math.sin(half)], [0, 1, 0], [-math.sin(half), 0, math.cos(half)]])
        thing.put(Shape.BOX, (0, 0, 2 * z), (x * 0.72, y, x * 0.72), roof, rotation=turn)
