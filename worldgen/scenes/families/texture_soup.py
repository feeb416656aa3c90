"""The `texture_soup` family: hard random geometry, everything strongly textured, as in LRM-Zero (Xie et al. 2024).

Distributions (U = uniform):
solids    6 to 16 of all closed-form shapes with random forms; half extents of one U(0.15, 0.8) m times U(0.4, 1.6) per
          axis, turned at random; centers normal about the origin (0.8 m), floating and intersecting as they come
meshes    with a chance of 40% a random terrain of 1.5 to 5 m below, 30% a random spiky polyhedron
ground    50% an endless floor 0.8 to 1.6 m below; else nothing but sky
material  any pattern of `materials.anything`, vivid; 40% glossy
light     sun U(20, 80) degrees high, ambient U(0.25, 0.6); 30% have a lamp
motion    30% of the scenes: each solid travels up to 0.6 m and turns up to a radian in two seconds, at its own time
cameras   arcs 40%, inward views 35%, dollies 25%
"""

import math
from dataclasses import replace

import numpy as np

from worldgen.runtime.rng import scene_numbers, scene_stream
from worldgen.scenes.cameras.sampling import CameraStyle, arc, dolly, inward
from worldgen.scenes.captions import scene_captions
from worldgen.scenes.classes import SemanticClass
from worldgen.scenes.families import materials
from worldgen.scenes.families.builder import Builder, height_field
from worldgen.scenes.scene import Scene, stack
from worldgen.scenes.shapes import Shape

NUMBER = 4
CAMERAS: tuple[tuple[CameraStyle, float], ...] = ((arc, 0.4), (inward, 0.35), (dolly, 0.25))
_SHAPES = (Shape.BALL, Shape.BOX, Shape.BOX, Shape.CYLINDER, Shape.CONE, Shape.CAPSULE, Shape.TORUS, Shape.SUPERQUADRIC)
_MOMENTS = np.linspace(0, 2, 9).astype(np.float32)


def texture_soup(seed: int, indices: list[int], held_out: bool = False) -> Scene:
    """The scenes of some numbers in the endless series of a seed. Raises InputError for a negative number."""
    return stack([_scene(scene_stream(seed, index, NUMBER, held_out)) for index in scene_numbers(indices)])


def _scene(rng: np.random.Generator) -> Scene:
    moving = rng.random() < 0.3
    build = Builder(_MOMENTS if moving else np.zeros(1, np.float32))
    for _ in range(rng.integers(6, 17)):
        _solid(rng, build, moving)
    floor = -rng.uniform(0.8, 1.6)
    if rng.random() < 0.5:
        ground = materials.anything(rng, 2.0, 0.3, flat=True)
        build.add(Shape.PLANE, (0, 0, floor), (1, 1, 1), ground, semantic=SemanticClass.GROUND, haze_m=30.0)
    if rng.random() < 0.4:
        heights = rng.uniform(0, rng.uniform(0.1, 0.7), (9, 9))
        side = rng.uniform(1.5, 5)
        build.mesh(
            height_field(heights, (side, side)), (0, 0, floor), materials.anything(rng, 1.0), instance=build.thing()
        )
    if rng.random() < 0.3:
        triangles = spikes(rng, rng.uniform(0.3, 0.7))
        build.mesh(triangles, rng.normal(0, 0.7, 3), materials.anything(rng, 0.5), instance=build.thing())
    if rng.random() < 0.3:
        build.lamp(
            rng.normal(0, 1.5, 3) + np.array([0, 0, 1.5]), rng.uniform(0.3, 1.2) * materials.color(rng, 0.3, 0.7, 1.0)
        )
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(20, 80))
    to_sun = (math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation))
    horizon, zenith = materials.sky(rng)
    ambient = rng.uniform(0.25, 0.6) * (0.85 + 0.15 * zenith / zenith.max())
    scene = build.scene(to_sun, rng.uniform(0.4, 1.1) * np.array([1, 0.97, 0.9]), ambient, horizon, zenith)
    return replace(scene, captions=scene_captions(scene, ["floating together"]))


def _solid(rng: np.random.Generator, build: Builder, moving: bool) -> None:
    kind = _SHAPES[rng.integers(len(_SHAPES))]
    size = rng.uniform(0.15, 0.8) * rng.uniform(0.4, 1.6, 3)
    form = rng.uniform(0.15, 0.9, 2) if kind != Shape.SUPERQUADRIC else rng.uniform(0.15, 1.8, 2)
    if kind == Shape.TORUS:
        form = rng.uniform(0.15, 0.45, 2)
        size[:2] = size[:2].mean()
        size[2] = form[0] * size[0]
    center, turn = rng.normal(0, 0.8, 3), materials.turned_axes(rng)
    turn = turn * np.sign(np.linalg.det(turn))
    if moving:
        share = ease(_MOMENTS, rng.uniform(0, 1), rng.uniform(0.6, 1.2))[:, None]
        center = center + share * rng.normal(0, 0.35, 3)
        turn = np.stack([_about(rng_axis, angle) @ turn for rng_axis, angle in _turns(rng, share[:, 0])])
    glossy = rng.random() < 0.4
    build.add(
        kind, center, size, materials.anything(rng, float(2 * size.max()), 0.6), rotation=turn, form=form,
        instance=build.thing(), gloss=rng.uniform(0.05, 0.5) if glossy else 0.0, shine=2 ** rng.uniform(2, 7),
    )  # fmt: skip


def _turns(rng: np.random.Generator, share: np.ndarray) -> list[tuple[np.ndarray, float]]:
    axis, angle = rng.normal(size=3), rng.uniform(-1, 1)
    return [(axis / np.linalg.norm(axis), float(angle * s)) for s in share]


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def ease(time_s: np.ndarray, start_s: float, duration_s: float) -> np.ndarray:
    """From 0 to 1 with a smooth start and end."""
    share = np.clip((time_s - start_s) / duration_s, 0, 1)
    return share * share * (3 - 2 * share)


def spikes(rng: np.random.Generator, radius_m: float) -> np.ndarray:
    """Triangles [80, 3, 3] of a ball whose vertices are pulled in and out."""
    a = (1 + math.sqrt(5)) / 2
    vertices = np.array([(-1, a, 0), (1, a, 0), (-1, -a, 0), (1, -a, 0), (0, -1, a), (0, 1, a), (0, -1, -a), (0, 1, -a),
                         (a, 0, -1), (a, 0, 1), (-a, 0, -1), (-a, 0, 1)])  # fmt: skip
    faces = np.array([(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2),
                      (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5),
                      (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)])  # fmt: skip
    corners = vertices[faces]
    middle = (corners + np.roll(corners, -1, axis=1)) / 2  # of the edges a b, b c, c a
    a, b, c, ab, bc, ca = (*corners.transpose(1, 0, 2), *middle.transpose(1, 0, 2))
    parts = np.concatenate([np.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    unit = parts / np.linalg.norm(parts, axis=-1, keepdims=True)
    # A vertex gets the same pull in all its triangles.
    key = np.round(unit * 1000).astype(int) @ np.array([1, 2003, 4012009])
    _, which = np.unique(key, return_inverse=True)
    pull = rng.uniform(0.45, 1.0, which.max() + 1)
    return radius_m * unit * pull[which].reshape(*unit.shape[:2], 1)
