"""The `street` family: a straight road with houses, trees, cars and pedestrians.

The world is laid out for a camera on a car: the ego lane's middle is the x axis, traffic in it goes towards +x, the
road's surface is z = 0, and during the first four seconds nothing comes within 1.2 m of the x axis between x = -10 m
and the lead vehicle, which is at least 14 m ahead and never slower than the ego car (`ego_speed`).

Distributions (U = uniform):
road       2 to 4 lanes of U(3.0, 3.7) m, right-hand traffic; dashed lines between lanes and solid ones at the borders,
           kerbs and sidewalks of U(2, 4) m; at 30% one crossing street
sides      houses of U(5, 12) m along the road and U(4, 14) m high with gaps, or (25%) meadows with more trees; trees,
           street lamps every U(18, 30) m, traffic lights at crossings, signs
traffic    0 to 5 parked cars, 1 to 5 moving cars and lorries (U(4, 14) m/s), 0 to 5 pedestrians on the sidewalks
weather    day 50%, dusk 20%, night 30%; clear 60%, fog 20% (visibility U(15, 50) m), rain 20% (gray, glossy road)
cameras    drives 55%, rigs on a drive 25%, strolls 20%
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geometry.camera.cameras import Cameras
from worldgen.runtime.rng import scene_numbers, scene_stream
from worldgen.scenes.cameras.sampling import CameraStyle, Site, aim, fan
from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families import materials
from worldgen.scenes.families import street_parts as parts
from worldgen.scenes.families.builder import Builder, Thing, Vector, texture
from worldgen.scenes.scene import Scene, stack
from worldgen.scenes.shapes import Shape
from worldgen.scenes.textures import Pattern

NUMBER = 2
MOMENTS = np.linspace(0, 4, 5).astype(np.float32)
LEAD_M = 14.0
_LENGTH = 70.0  # of the road, to both sides of x = 25


def street(seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """The scenes of some numbers in the endless series of a seed. Raises InputError for a negative number."""
    return stack([_scene(scene_stream(seed, index, NUMBER, held_out)) for index in scene_numbers(indices)])


def ego_speed(seed: int, index: int, held_out: bool = False) -> float:
    """The speed at which a camera may drive along the x axis of a street without a collision (m/s)."""
    return _Plan.draw(scene_stream(seed, index, NUMBER, held_out)).speed


@dataclass(frozen=True)
class _Plan:
    """What is drawn first: the road, the ego car's speed (m/s), time of day and weather.

    lanes    y of every lane's middle, metres; those right of `middle` go towards +x
    """

    speed: float
    width: float
    lanes: np.ndarray
    middle: float
    walk: float
    time: str
    weather: str
    haze_m: float

    @property
    def right(self) -> float:
        """y of the road's right border."""
        return float(self.lanes.min() - self.width / 2)

    @property
    def left(self) -> float:
        """y of the road's left border."""
        return float(self.lanes.max() + self.width / 2)

    @staticmethod
    def draw(rng: np.random.Generator) -> "_Plan":
        speed, width, count = rng.uniform(3, 13), rng.uniform(3.0, 3.7), int(rng.integers(2, 5))
        same = 1 if count < 4 else 2  # lanes of the ego's direction
        ego = int(rng.integers(same))  # counted from the right
        lanes = (np.arange(count) - ego) * width
        time = str(rng.choice(["day", "dusk", "night"], p=[0.5, 0.2, 0.3]))
        weather = str(rng.choice(["clear", "fog", "rain"], p=[0.6, 0.2, 0.2]))
        haze = {"clear": 150.0, "fog": rng.uniform(15, 50), "rain": rng.uniform(60, 100)}[weather]
        return _Plan(speed, width, lanes, (same - ego - 0.5) * width, rng.uniform(2, 4), time, weather, haze)


def _scene(rng: np.random.Generator) -> Scene:
    plan, build = _Plan.draw(rng), Builder(MOMENTS)
    _road(rng, build, plan)
    _sides(rng, build, plan)
    _traffic(rng, build, plan)
    scene = build.scene(**_light(rng, plan))
    setting = {"day": "on a street by day", "dusk": "on a street at dusk", "night": "on a street at night"}[plan.time]
    setting += {"clear": "", "fog": " in fog", "rain": " in rain"}[plan.weather]
    return replace(scene, captions=scene_captions(scene, [setting]))


def _thing(build: Builder, plan: _Plan, place: Vector, heading: float, semantic: SemanticClass,
           velocity: Vector = (0.0, 0.0)) -> Thing:  # fmt: skip
    """A thing that stands on the ground or moves over it at a constant velocity."""
    path = np.array([*place, 0.0]) + MOMENTS[:, None] * np.array([*velocity, 0.0])
    return Thing(build, path, heading, build.thing(), semantic, plan.haze_m)


def _road(rng: np.random.Generator, build: Builder, plan: _Plan) -> None:
    haze: dict[str, Any] = {"haze_m": plan.haze_m}
    verge = materials.leaves(rng, 0.8) if rng.random() < 0.6 else materials.tiles(rng, 0.8)
    build.add(Shape.PLANE, (0, 0, -0.02), (1, 1, 1), verge, semantic=SemanticClass.GROUND, **haze)
    wet = plan.weather == "rain"
    asphalt = np.full(3, rng.uniform(0.04, 0.16) * (0.5 if wet else 1)) * rng.uniform(0.9, 1.1, 3)
    count, half = len(plan.lanes), len(plan.lanes) / 2
    center = (plan.left + plan.right) / 2
    # The texture's second coordinate counts lane widths from the road's middle, where a line is only if lanes are even.
    dash, gap = rng.uniform(2, 4), rng.uniform(3, 6)
    shift = 0.0 if count % 2 == 0 else math.pi
    paint = texture(Pattern.ROAD, asphalt, (0.75, 0.75, 0.7), (dash + gap, plan.width, 1.0), phase=(0.0, shift, 0.0),
                    weight=(dash / (dash + gap), half if count % 2 == 0 else half + 0.5, 0.14 / plan.width),
                    sharpness=8.0, grain=0.12)  # fmt: skip
    build.add(Shape.BOX, (25, center, -0.5), (_LENGTH, (plan.left - plan.right) / 2 + 0.1, 0.5), paint,
              semantic=SemanticClass.ROAD, gloss=0.5 if wet else 0.02, shine=30.0, **haze)  # fmt: skip
    for n in range(count + 1):
        y = plan.right + n * plan.width
        build.line(np.array([(25 - _LENGTH, y, 0.0), (25 + _LENGTH, y, 0.0)]))
    paving = materials.paving(rng)
    for y, side in ((plan.left, 1), (plan.right, -1)):
        middle = y + side * (0.1 + plan.walk / 2)
        build.add(Shape.BOX, (25, middle, 0.0), (_LENGTH, plan.walk / 2, 0.12), paving,
                  semantic=SemanticClass.SIDEWALK, gloss=0.3 if wet else 0.0, **haze)  # fmt: skip


def _sides(rng: np.random.Generator, build: Builder, plan: _Plan) -> None:
    night, crossing = plan.time == "night", rng.uniform(20, 45) if rng.random() < 0.3 else math.inf
    lamps = 0
    for border, side in ((plan.left, 1), (plan.right, -1)):
        town = rng.random() < 0.75
        x = -12.0 + rng.uniform(0, 5)
        while town and x < 80:
            half = np.array([rng.uniform(3, 5), rng.uniform(2.5, 6), rng.uniform(2, 7)])
            if not abs(x + half[1] - crossing) < half[1] + 4:
                y = border + side * (0.3 + plan.walk + half[0] + rng.uniform(0, 1.5))
                thing = _thing(build, plan, (x + half[1], y), -side * math.pi / 2, SemanticClass.BUILDING)
                parts.building(rng, thing, half, night)
            x += 2 * half[1] + (rng.uniform(0.2, 1) if rng.random() < 0.7 else rng.uniform(3, 8))
        edge = border + side * (0.5 + 0.2 * plan.walk)
        spacing, x = rng.uniform(18, 30), rng.uniform(2, 12)
        while x < 60:
            lit = night and lamps < 3
            lamps += lit
            thing = _thing(build, plan, (x, edge), -side * math.pi / 2, SemanticClass.POLE)
            parts.street_lamp(rng, thing, lit)
            x += spacing
        for _ in range(rng.integers(1, 4) if town else rng.integers(4, 9)):
            y = edge if town else border + side * (plan.walk + rng.uniform(1.5, 12))
            thing = _thing(build, plan, (rng.uniform(0, 60), y), 0.0, SemanticClass.VEGETATION)
            parts.tree(rng, thing)
        for _ in range(rng.integers(0, 3)):
            thing = _thing(build, plan, (rng.uniform(4, 40), edge), math.pi + rng.normal(0, 0.1), SemanticClass.SIGN)
            parts.sign(rng, thing)
        if crossing < math.inf and side < 0:
            thing = _thing(build, plan, (crossing - 5, edge), math.pi, SemanticClass.TRAFFIC_LIGHT)
            parts.traffic_light(rng, thing)


def _traffic(rng: np.random.Generator, build: Builder, plan: _Plan) -> None:
    lights = 0.2 if plan.time == "day" else 1.5
    taken: dict[int, list[Vector]] = {}
    for _ in range(rng.integers(1, 6)):
        lane = int(rng.integers(len(plan.lanes)))
        y, onwards = float(plan.lanes[lane]), float(plan.lanes[lane]) < plan.middle
        ego = abs(y) < 1e-6
        speed = plan.speed * rng.uniform(1.0, 1.3) if ego else rng.uniform(4, 14)
        x = rng.uniform(LEAD_M, 45) if ego else rng.uniform(0, 55) if onwards else rng.uniform(5, 80)
        # One speed a lane, so that no car catches up with another.
        queue = taken.setdefault(lane, [])
        speed = queue[0][1] if queue else speed
        if any(abs(x - other) < 12 for other, _ in queue):
            continue
        queue.append((x, speed))
        heavy = rng.random() < 0.2
        semantic = SemanticClass.TRUCK if heavy else SemanticClass.CAR
        velocity = (speed if onwards else -speed, 0.0)
        if heavy and ego:
            x += 4.0
        thing = _thing(build, plan, (x, y), 0.0 if onwards else math.pi, semantic, velocity)
        (parts.truck if heavy else parts.car)(rng, thing, lights)
    spots = rng.permutation(8)[: rng.integers(0, 6)]
    for spot in spots:  # parked half on the sidewalk of either side
        side = 1 if rng.random() < 0.5 else -1
        border = plan.left if side > 0 else plan.right
        if abs(border + side * 0.6) < 2.6:
            continue
        thing = _thing(build, plan, (2 + 7 * spot, border + side * 0.75), rng.choice([0, math.pi]), SemanticClass.CAR)
        parts.car(rng, replace(thing, place=thing.place + np.array([0, 0, 0.12])), 0.0)
    for _ in range(rng.integers(0, 6)):
        side = 1 if rng.random() < 0.5 else -1
        border = plan.left if side > 0 else plan.right
        y, pace = border + side * rng.uniform(0.9, plan.walk), rng.uniform(0.8, 1.8) * rng.choice([-1, 1])
        thing = _thing(build, plan, (rng.uniform(2, 40), y), 0.0 if pace > 0 else math.pi, SemanticClass.PEDESTRIAN,
                       (pace, 0.0))  # fmt: skip
        parts.pedestrian(rng, replace(thing, place=thing.place + np.array([0, 0, 0.12])))


def _light(rng: np.random.Generator, plan: _Plan) -> dict[str, np.ndarray]:
    azimuth = rng.uniform(0, 2 * math.pi)
    high = math.radians(rng.uniform(20, 65) if plan.time == "day" else rng.uniform(6, 14))
    flat = math.cos(high)
    to_sun = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(high)])
    gray = plan.weather != "clear"
    if plan.time == "day":
        horizon, zenith = materials.sky(rng)
        sun, ambient = rng.uniform(0.7, 1.2) * np.array([1, 0.96, 0.88]), rng.uniform(0.35, 0.55) * np.ones(3)
    elif plan.time == "dusk":
        horizon, zenith = materials.from_hsv(rng.uniform(0.02, 0.1), 0.5, 0.9), materials.from_hsv(0.63, 0.5, 0.45)
        sun, ambient = rng.uniform(0.4, 0.8) * np.array([1, 0.6, 0.35]), 0.3 * np.array([0.9, 0.85, 1.0])
    else:
        horizon, zenith = materials.from_hsv(0.65, 0.3, 0.2), materials.from_hsv(0.65, 0.4, 0.08)
        sun, ambient = np.zeros(3), rng.uniform(0.1, 0.22) * np.array([0.8, 0.9, 1.1])
    if gray:
        dim = {"day": rng.uniform(0.5, 0.85), "dusk": 0.35, "night": 0.02}[plan.time]
        horizon, zenith = dim * np.array([0.95, 1.0, 1.02]), dim * np.array([0.85, 0.9, 0.95])
        sun, ambient = 0.15 * sun, ambient * 1.25
    return {"to_sun": to_sun, "sun": sun, "ambient": ambient, "horizon": horizon, "zenith": zenith}


def drive(rng: np.random.Generator, site: Site) -> Cameras:
    """A camera on a car in the ego lane, at its safe speed, 1.2 to 1.8 m high, looking ahead or a little aside."""
    speed = ego_speed(site.seed, site.index, site.held_out)
    x = rng.uniform(-2, 2) + speed * np.arange(site.clip.frames) / site.clip.fps
    eye = np.stack([x, 0.05 * np.sin(0.3 * x), rng.uniform(1.2, 1.8) + 0 * x], -1)
    aside = math.radians(rng.normal(0, 6))
    towards = np.array([10 * math.cos(aside), 10 * math.sin(aside), rng.uniform(-1.2, 0.2)])
    return aim(rng, site, eye, eye + towards, float(rng.uniform(45, 75)))


def drive_rig(rng: np.random.Generator, site: Site) -> Cameras:
    """Three or six cameras around a driving car."""
    count = int(rng.choice([3, 6]))
    return fan(drive(rng, site), count, 60.0 if count == 3 else 150.0)


def stroll(rng: np.random.Generator, site: Site) -> Cameras:
    """A walk along a street, looking ahead or across it."""
    pace, heading = rng.uniform(0.8, 2.0), rng.choice([0.0, math.pi])
    x = rng.uniform(2, 30) + pace * math.cos(heading) * np.arange(site.clip.frames) / site.clip.fps
    eye = np.stack([x, rng.uniform(-0.8, 0.8) + 0 * x, 1.6 + 0.02 * np.sin(6 * x)], -1)
    aside = heading + math.radians(rng.uniform(-70, 70))
    towards = np.array([8 * math.cos(aside), 8 * math.sin(aside), rng.uniform(-0.5, 1.0)])
    return aim(rng, site, eye, eye + towards, float(rng.uniform(45, 80)))


CAMERAS: tuple[tuple[CameraStyle, float], ...] = ((drive, 0.55), (drive_rig, 0.25), (stroll, 0.2))
