"""A scene of every kind of solid, and cameras around it."""

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.rotation.transforms import look_at
from worldgen.scenes.families.builder import Builder, height_field, plain
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import Shape

VIEWS, SIZE = 8, 128


def random_scene(kinds: list[Shape], seed: int = 0, terrain: bool = False, floor: bool = False) -> Scene:
    """One scene of turned and stretched solids in a cube of 4 m, with a terrain or a floor below on request."""
    rng, build = np.random.default_rng(seed), Builder()
    for kind in kinds:
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        build.add(kind, rng.uniform(-2, 2, 3), rng.uniform(0.2, 0.5, 3), plain(rng.random(3)), rotation=turn,
                  form=(0.4, 0.6), instance=build.thing())  # fmt: skip
    if terrain:
        build.mesh(height_field(rng.uniform(0, 0.4, (33, 33)), (4.0, 4.0)), (0, 0, -2), plain((0.4, 0.5, 0.3)))
    if floor:
        build.add(Shape.BOX, (0, 0, -3), (20, 20, 0.5), plain((0.5, 0.5, 0.5)))
    light = np.full(3, 0.4)
    return build.scene((0.3, 0.4, 0.8), light, light, light, light)


def around(count: int = VIEWS, size: int = SIZE) -> Cameras:
    """Cameras [1, f] on a circle of 6 m."""
    angle = torch.linspace(0, 6.28, count + 1)[:-1]
    eye = torch.stack([6 * angle.cos(), 6 * angle.sin(), 2.5 + 0 * angle], -1)
    return Cameras.from_fov(look_at(eye, torch.zeros(3))[None], 50.0, (size, size))
